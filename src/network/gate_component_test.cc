// SPDX-License-Identifier: Apache-2.0
// The gate with real locks, in a directory of the test's own.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "network/gate.h"
#include "sys/file.h"

namespace msb::network {
namespace {

using testing::ElementsAre;

class GateTest : public testing::Test {
 protected:
  GateTest() {
    char name[] = "/tmp/msb-gate-XXXXXX";
    top_ = ::mkdtemp(name);
    directory_ = top_ + "/run";
  }
  ~GateTest() override { (void)sys::RemoveTreeAt(sys::Cwd(), top_); }
  Gate Enter() { return *Gate::Enter(directory_, Deadline::After(std::chrono::seconds(10))); }
  bool HasFile() { return !std::filesystem::is_empty(directory_); }

  std::string top_, directory_;
};

TEST_F(GateTest, EverybodyHasANumberOfTheirOwn) {
  auto first = Enter(), second = Enter();
  EXPECT_EQ(*first.ClaimNumber(1, 3), 1u);
  EXPECT_EQ(*second.ClaimNumber(1, 3), 2u);
  auto third = Enter();
  auto none = third.ClaimNumber(1, 3);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code(), Code::kResourceExhausted);
  EXPECT_FALSE(*third.TryNumber(1));
}

TEST_F(GateTest, ANumberIsFreeWhenItsHolderIsGone) {
  {
    auto first = Enter();
    EXPECT_EQ(*first.ClaimNumber(1, 9), 1u);
  }
  auto second = Enter();
  EXPECT_EQ(*second.ClaimNumber(1, 9), 1u);
}

TEST_F(GateTest, OnlyWhoIsAloneIsTheLast) {
  auto first = Enter();
  {
    auto second = Enter();
    EXPECT_FALSE(*first.BecomeLast());
    EXPECT_FALSE(*second.BecomeLast());
  }
  EXPECT_TRUE(*first.BecomeLast());
  EXPECT_FALSE(Gate::EnterAbandoned(directory_)->has_value());
  auto late = Gate::Enter(directory_, Deadline::After({}));
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), Code::kDeadlineExceeded);
}

TEST_F(GateTest, WhatTheLastRemovesIsNotEnteredAgain) {
  {
    auto first = Enter();
    ASSERT_TRUE(first.AddSwitched("eth0").ok());
    ASSERT_TRUE(*first.BecomeLast());
    ASSERT_TRUE(std::move(first).Remove().ok());
  }
  EXPECT_FALSE(HasFile());
  EXPECT_FALSE(Gate::EnterAbandoned(directory_)->has_value());
  EXPECT_THAT(*Enter().Switched(), ElementsAre());
}

TEST_F(GateTest, OfOneThatWasKilledTheNamesAreFound) {
  {
    auto killed = Enter();
    ASSERT_TRUE(killed.AddSwitched("eth0").ok() && killed.AddSwitched("wlan0").ok());
  }
  auto gate = Gate::EnterAbandoned(directory_);
  ASSERT_TRUE(gate.ok() && gate->has_value());
  EXPECT_THAT(*(*gate)->Switched(), ElementsAre("eth0", "wlan0"));
}

TEST_F(GateTest, NothingIsMadeToSeeThatNothingIsThere) {
  EXPECT_FALSE(Gate::EnterAbandoned(directory_)->has_value());
  EXPECT_FALSE(std::filesystem::exists(directory_));
}

}  // namespace
}  // namespace msb::network
