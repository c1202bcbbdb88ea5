// SPDX-License-Identifier: Apache-2.0
// What a supervisor hears of a guest that opens and closes its port.

#include "programs/msb_vmm/control.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

namespace msb::vmm {
namespace {

class Control : public testing::Test {
 protected:
  Control() : loop_(std::move(*event::Loop::Create())) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    supervisor_ = UniqueFd(ends[0]);
    control_.emplace(UniqueFd(ends[1]));
  }

  std::string Heard() {
    std::string all, line(512, '\0');
    ssize_t n = 0;
    while ((n = ::recv(supervisor_.get(), line.data(), line.size(), MSG_DONTWAIT)) > 0)
      all += line.substr(0, static_cast<size_t>(n)) + "; ";
    return all;
  }

  void Later() {
    auto until = Clock::now() + 3 * kChannelEvery;
    while (Clock::now() < until) ASSERT_TRUE(loop_->RunOnce(Deadline::After(kChannelEvery)).ok());
  }

  std::unique_ptr<event::Loop> loop_;
  UniqueFd supervisor_;
  std::optional<ControlSocket> control_;
};

TEST_F(Control, TellsTheFirstChangeAtOnceAndTheLastAlways) {
  control_->SayChannel(*loop_, true);
  EXPECT_EQ(Heard(), "channel open; ");
  for (int i = 0; i < 10'000; i++) control_->SayChannel(*loop_, i % 2 == 1);
  control_->SayChannel(*loop_, false);
  Later();
  std::string heard = Heard();
  EXPECT_LT(heard.size(), 2'000U);
  EXPECT_TRUE(heard.ends_with("channel closed; ")) << heard;
  Later();
  EXPECT_EQ(Heard(), "");
}

TEST_F(Control, TellsTheEndAfterAnyNumberOfChanges) {
  for (int i = 0; i < 10'000; i++) control_->SayChannel(*loop_, i % 2 == 0);
  control_->SayEnd({Outcome::Kind::kGuestReset, "bye"});
  EXPECT_TRUE(Heard().ends_with("end guest-reset bye; "));
}

}  // namespace
}  // namespace msb::vmm
