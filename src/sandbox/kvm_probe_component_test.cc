// SPDX-License-Identifier: Apache-2.0
// The probe on this machine's own /dev/kvm, whatever that is. The KVM lab sets MSB_KVM_WORKS: there
// the answer is known.

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>

#include "sandbox/kvm_probe.h"

namespace msb::sandbox {
namespace {

TEST(KvmProbe, RunsAnOrdinaryGuestWhereKvmIsKnownToWork) {
  KvmTrial trial = TryKvm();
  if (::getenv("MSB_KVM_WORKS") != nullptr) {
    EXPECT_EQ(trial.failure, KvmFailure::kNone)
        << "errno " << trial.error << ", exit reason " << trial.exit_reason;
  } else if (::access("/dev/kvm", F_OK) != 0) {
    EXPECT_EQ(trial.failure, KvmFailure::kAbsent);
  } else {
    EXPECT_NE(trial.failure, KvmFailure::kAbsent);
  }
}

TEST(KvmProbe, AnswersInTimeHoweverItEnds) {
  auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < 3; round++) TryKvm();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

}  // namespace
}  // namespace msb::sandbox
