// SPDX-License-Identifier: Apache-2.0
// The advice for hosts of every kind, and the choice that follows.

#include "sandbox/probe.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/text.h"
#include "sandbox/kvm_advice.h"
#include "sandbox/kvm_probe.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

using testing::Test;

TEST(KvmTrial, SurvivesTheExitStatus) {
  for (int failure = 0; failure <= static_cast<int>(KvmFailure::kHung); failure++) {
    KvmTrial trial{static_cast<KvmFailure>(failure), 0, 17};
    EXPECT_EQ(DecodeTrial(EncodeTrial(trial)).failure, trial.failure);
    EXPECT_EQ(DecodeTrial(EncodeTrial(trial)).exit_reason, 17u);
    EXPECT_LT(EncodeTrial(trial), 256);
  }
}

TEST(KvmTrial, AMissingDeviceIsAbsentAndAForeignOneIsNotKvm) {
  EXPECT_EQ(TryKvm("/no/such/device").failure, KvmFailure::kAbsent);
  EXPECT_EQ(TryKvm("/dev/null").failure, KvmFailure::kVersion);
}

TEST(KvmAdvice, AForeignDeviceIsCalledOne) {
  auto answer = AdviseKvm({KvmFailure::kVersion, ENOTTY, 0}, {});
  EXPECT_FALSE(answer.usable);
  EXPECT_NE(answer.reason.find("not KVM's device"), std::string::npos) << answer.reason;
}

TEST(KvmAdvice, AbsentDevice) {
  KvmTrial absent{KvmFailure::kAbsent, ENOENT, 0};
  EXPECT_NE(AdviseKvm(absent, {.cpu_has_virtualization = true, .cpu_is_amd = true})
                .fix.find("modprobe kvm_amd"),
            std::string::npos);
  EXPECT_NE(AdviseKvm(absent, {.cpu_has_virtualization = true}).fix.find("modprobe kvm_intel"),
            std::string::npos);
  EXPECT_NE(AdviseKvm(absent, {.is_guest = true}).fix.find("nested"), std::string::npos);
  EXPECT_NE(AdviseKvm(absent, {}).fix.find("BIOS"), std::string::npos);
  EXPECT_NE(AdviseKvm(absent, {.is_guest = true, .wsl = true}).fix.find(".wslconfig"),
            std::string::npos);
}

TEST(KvmAdvice, ForbiddenDeviceTellsAGroupGrantedFromAGroupActive) {
  KvmTrial forbidden{KvmFailure::kForbidden, EACCES, 0};
  EXPECT_NE(
      AdviseKvm(forbidden, {.kvm_group = "kvm", .user = "ann"}).fix.find("usermod -aG kvm ann"),
      std::string::npos);
  EXPECT_NE(AdviseKvm(forbidden, {.kvm_group = "kvm", .in_group_file = true, .user = "ann"})
                .fix.find("newgrp kvm"),
            std::string::npos);
  EXPECT_NE(AdviseKvm(forbidden, {.kvm_group = "root"}).fix.find("chgrp kvm"), std::string::npos);
}

TEST(KvmAdvice, EveryFailureHasAReasonAndOnlySuccessIsUsable) {
  for (int failure = 0; failure <= static_cast<int>(KvmFailure::kHung); failure++) {
    auto answer = AdviseKvm({static_cast<KvmFailure>(failure), 0, 0}, {});
    EXPECT_EQ(answer.usable, failure == 0);
    EXPECT_EQ(answer.reason.empty(), failure == 0);
    EXPECT_EQ(answer.fix.empty(), failure == 0);
  }
}

class Choosing : public Test {
 protected:
  Choosing() {
    char path[] = "/tmp/msb-probe-test-XXXXXX";
    path_ = ::mkdtemp(path);
    dir_ = *sys::OpenAt(sys::Cwd(), path_, O_RDONLY | O_DIRECTORY);
  }
  ~Choosing() override { (void)sys::RemoveTreeAt(sys::Cwd(), path_); }
  // As if the probe had found this out, whatever this host can do.
  void Remember(std::string_view usable, const char* device = kDevice) {
    (void)ProbeKvm(dir_, ProbeMode::kFresh, device);
    auto kept = sys::ReadFileAt(dir_, "kvm-probe", 8192);
    ASSERT_TRUE(kept);
    std::string key = kept->substr(0, kept->find('\n'));
    ASSERT_TRUE(sys::ReplaceFileAt(dir_, "kvm-probe", Cat(key, "\n", usable, "\nas told\n\n")));
  }
  // Can be opened on any host, which is all that is asked of a device whose answer is remembered.
  static constexpr const char* kDevice = "/dev/null";
  std::string path_;
  UniqueFd dir_;
};

TEST_F(Choosing, TakesVmWhereKvmRunsGuests) {
  Remember("yes");
  for (auto required : {std::optional<Isolation>(), std::optional(Isolation::kVm)}) {
    auto choice = ChooseIsolation(dir_, std::nullopt, required, kDevice);
    ASSERT_TRUE(choice);
    EXPECT_EQ(choice->isolation, Isolation::kVm);
    EXPECT_EQ(choice->note, "");
  }
  EXPECT_EQ(ChooseIsolation(dir_, Isolation::kVmEmulated, std::nullopt, kDevice)->isolation,
            Isolation::kVmEmulated);
}

TEST_F(Choosing, NeverSlidesToProcessAndNamesWhatItIsNot) {
  Remember("no");
  auto choice = ChooseIsolation(dir_, std::nullopt, std::nullopt, kDevice);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->isolation, Isolation::kVmEmulated);
  EXPECT_TRUE(choice->note.starts_with("isolation vm-emulated: ")) << choice->note;
}

TEST_F(Choosing, TakesProcessOnlyWhereItIsAskedForAndNamesIt) {
  for (auto required : {std::optional<Isolation>(), std::optional(Isolation::kProcess)}) {
    auto choice = ChooseIsolation(dir_, Isolation::kProcess, required, kDevice);
    ASSERT_TRUE(choice);
    EXPECT_EQ(choice->isolation, Isolation::kProcess);
    EXPECT_TRUE(choice->note.starts_with("isolation process: ")) << choice->note;
  }
  Remember("no");
  EXPECT_EQ(ChooseIsolation(dir_, std::nullopt, Isolation::kProcess, kDevice)->isolation,
            Isolation::kVmEmulated);
}

TEST_F(Choosing, RefusesWhatItCannotGive) {
  Remember("no");
  for (auto [asked, required] :
       {std::pair(std::optional(Isolation::kVm), std::optional<Isolation>()),
        {std::nullopt, Isolation::kVm},
        {Isolation::kProcess, Isolation::kVm},
        {Isolation::kProcess, Isolation::kVmEmulated},
        {Isolation::kVmEmulated, Isolation::kVm}}) {
    auto choice = ChooseIsolation(dir_, asked, required, kDevice);
    ASSERT_FALSE(choice);
    EXPECT_FALSE(choice.error().remedy().empty());
  }
}

TEST_F(Choosing, AsksWhetherTheDeviceCanBeOpenedWhateverIsRemembered) {
  std::string device = path_ + "/device";
  ASSERT_TRUE(sys::ReplaceFileAt(dir_, "device", ""));
  Remember("yes", device.c_str());
  ASSERT_TRUE(ProbeKvm(dir_, ProbeMode::kCached, device.c_str()).usable);
  ASSERT_TRUE(sys::UnlinkAt(dir_, "device"));
  EXPECT_EQ(ProbeKvm(dir_, ProbeMode::kCached, device.c_str()).reason, "this host has no /dev/kvm");
  EXPECT_TRUE(sys::ReadFileAt(dir_, "kvm-probe", 8192)->find("\nyes\n") != std::string::npos)
      << "it may come back as it was";
}

TEST_F(Choosing, TheAnswerIsRememberedAndAForeignCacheIsNotBelieved) {
  auto ask = [&] { return ProbeKvm(dir_, ProbeMode::kCached, kDevice); };
  auto first = ask();
  ASSERT_TRUE(sys::ReadFileAt(dir_, "kvm-probe", 8192));
  EXPECT_EQ(ask().reason, first.reason);
  Remember("yes");
  EXPECT_TRUE(ask().usable);
  ASSERT_TRUE(sys::ReplaceFileAt(dir_, "kvm-probe", "another key\nyes\n\n\n"));
  EXPECT_EQ(ask().usable, first.usable);
  ASSERT_TRUE(sys::ReplaceFileAt(dir_, "kvm-probe", "garbage"));
  EXPECT_EQ(ask().reason, first.reason);
}

}  // namespace
}  // namespace msb::sandbox
