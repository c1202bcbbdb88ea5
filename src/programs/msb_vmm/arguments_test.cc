// SPDX-License-Identifier: Apache-2.0
// Arguments of msb-vmm.

#include "programs/msb_vmm/arguments.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace msb::vmm {
namespace {

using Words = std::vector<std::string_view>;

const Words kGood = {"--cpus",      "2", "--memory",  "268435456", "--kvm",   "3", "--kernel", "4",
                     "--initramfs", "5", "--root",    "6",         "--upper", "7", "--agent",  "8",
                     "--console",   "9", "--control", "10"};

std::string WhyNot(const Words& words) {
  auto arguments = ParseArguments(words);
  return arguments.ok() ? "taken" : arguments.error().message();
}

Words With(size_t index, std::string_view word) {
  Words words = kGood;
  words[index] = word;
  return words;
}

TEST(Arguments, AreNumbersAndDescriptors) {
  auto arguments = ParseArguments(kGood);
  ASSERT_TRUE(arguments) << arguments.error().message();
  EXPECT_EQ(arguments->spec.cpus, 2u);
  EXPECT_EQ(arguments->spec.memory_bytes, 268435456u);
  EXPECT_EQ(arguments->spec.console, Console::kQuiet);
  EXPECT_EQ(arguments->kvm, 3);
  EXPECT_EQ(arguments->control, 10);
  Words words = kGood;
  words.push_back("--verbose-console");
  EXPECT_EQ(ParseArguments(words)->spec.console, Console::kVerbose);
}

TEST(Arguments, EachOneIsNeeded) {
  for (size_t i = 2; i < kGood.size(); i += 2) {
    Words words = kGood;
    words.erase(words.begin() + static_cast<ptrdiff_t>(i),
                words.begin() + static_cast<ptrdiff_t>(i) + 2);
    EXPECT_EQ(WhyNot(words), std::string(kGood[i]) + " is missing");
  }
}

TEST(Arguments, RefusesWhatIsNoNumber) {
  EXPECT_EQ(WhyNot(With(1, "two")), "--cpus takes a number, not two");
  EXPECT_EQ(WhyNot(With(1, "-1")), "--cpus takes a number, not -1");
  EXPECT_EQ(WhyNot(With(3, "256M")), "--memory takes a number, not 256M");
  EXPECT_EQ(WhyNot(With(5, "")), "--kvm takes a number, not ");
  EXPECT_EQ(WhyNot(With(5, "99999999999")), "--kvm takes a number, not 99999999999");
}

TEST(Arguments, RefusesDescriptorsOfOthers) {
  EXPECT_EQ(WhyNot(With(5, "2")), "--kvm takes a descriptor above 2");
  EXPECT_EQ(WhyNot(With(5, "-7")), "--kvm takes a descriptor above 2");
  EXPECT_EQ(WhyNot(With(7, "3")), "--kernel is also --kvm");
  EXPECT_EQ(WhyNot(With(6, "--kvm")), "--kvm is given twice");
}

TEST(Arguments, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(WhyNot(With(0, "--cpu")), "--cpu is not an option");
  Words words = kGood;
  words.push_back("--cpus");
  EXPECT_EQ(WhyNot(words), "--cpus wants a value");
  EXPECT_NE(WhyNot({"\x1b[31m", "1"}), "taken");
  EXPECT_EQ(WhyNot({"\x1b[31m", "1"}).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace msb::vmm
