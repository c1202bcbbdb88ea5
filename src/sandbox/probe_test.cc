// SPDX-License-Identifier: Apache-2.0
// The advice for hosts of every kind, and the choice that follows.

#include "sandbox/probe.h"

#include <gtest/gtest.h>
#include <stdlib.h>

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
  std::string path_;
  UniqueFd dir_;
};

TEST_F(Choosing, NeverSlidesToProcessAndNamesWhatItIsNot) {
  auto choice = ChooseIsolation(dir_, std::nullopt, std::nullopt);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->isolation, Isolation::kVmEmulated);
  EXPECT_TRUE(choice->note.starts_with("isolation vm-emulated: ")) << choice->note;
}

TEST_F(Choosing, RefusesWhatItCannotGive) {
  for (auto [asked, required] :
       {std::pair(std::optional(Isolation::kVm), std::optional<Isolation>()),
        {std::nullopt, Isolation::kVm},
        {Isolation::kProcess, std::nullopt},
        {Isolation::kVmEmulated, Isolation::kVm}}) {
    auto choice = ChooseIsolation(dir_, asked, required);
    ASSERT_FALSE(choice);
    EXPECT_FALSE(choice.error().remedy().empty());
  }
}

TEST_F(Choosing, TheAnswerIsRememberedAndAForeignCacheIsNotBelieved) {
  auto first = ProbeKvm(dir_);
  auto kept = sys::ReadFileAt(dir_, "kvm-probe", 8192);
  ASSERT_TRUE(kept);
  EXPECT_EQ(ProbeKvm(dir_).reason, first.reason);
  ASSERT_TRUE(sys::ReplaceFileAt(dir_, "kvm-probe", "another key\nyes\n\n\n"));
  EXPECT_EQ(ProbeKvm(dir_).usable, first.usable);
  ASSERT_TRUE(sys::ReplaceFileAt(dir_, "kvm-probe", "garbage"));
  EXPECT_EQ(ProbeKvm(dir_).reason, first.reason);
}

}  // namespace
}  // namespace msb::sandbox
