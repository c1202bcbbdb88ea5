// SPDX-License-Identifier: Apache-2.0
#include "jail/box/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>

#include "base/text.h"

namespace msb::box {
namespace {

using testing::HasSubstr;

uint32_t Number(std::string_view call) { return static_cast<uint32_t>(jail::SyscallNumber(call)); }

std::string RoundTrip(std::string_view text) {
  auto rules = ParseProfile(text);
  if (!rules) return rules.error().message();
  std::string out;
  for (const CallRule& rule : *rules) out += FormatRule(rule) + "\n";
  return out;
}

TEST(Profile, IsReadLineByLine) {
  EXPECT_EQ(
      RoundTrip("# nothing\n\n   \t\r\nallow ptrace # why\r\n\tdeny  mlock\n"
                "allow socket protocol=9 family=16#\ndeny clone flags=CLONE_NEWNS|0x20000000"),
      "allow ptrace\ndeny mlock\nallow socket family=AF_NETLINK protocol=NETLINK_AUDIT\n"
      "deny clone flags=CLONE_NEWNS|CLONE_NEWPID\n");
  EXPECT_EQ((*ParseProfile("\n\nallow bpf\n"))[0].origin, "line 3");
  EXPECT_TRUE(ParseProfile("")->empty());
}

TEST(Profile, OneOrderOfConditionsIsOneRule) {
  auto rules = *ParseProfile(
      "allow socket family=AF_INET type=SOCK_RAW\n"
      "deny socket type=SOCK_RAW family=AF_INET\n");
  EXPECT_THAT(CallPolicy::Create(rules).error().message(),
              HasSubstr("both allowed (line 1) and denied (line 2)"));
}

TEST(Profile, WhatIsWrongIsNamedWithItsLineAndARemedy) {
  struct {
    std::string text;
    const char* said;
    const char* remedy;
  } wrong[] = {
      {"\nalow ptrace", "line 2: a rule does not begin with alow", "did you mean allow?"},
      {"permit all", "line 1: a rule does not begin with permit", "allow CALL or deny CALL"},
      {"allow", "line 1: no call after allow", "as in allow ptrace"},
      {"allow ptrce", "line 1: unknown system call ptrce", "did you mean ptrace?"},
      {"allow ptrace request=1", "line 1: ptrace has no argument request", "as a whole: ptrace"},
      {"allow socket famly=1", "line 1: socket has no argument famly", "did you mean family?"},
      {"allow socket AF_ALG", "line 1: AF_ALG is no condition", "as in socket family=AF_ALG"},
      {"allow socket family=AF_AGL", "AF_AGL is no family of socket", "did you mean AF_ALG?"},
      {"allow socket family=1 family=2", "family is named twice", "another rule"},
      {"allow socket family=4294967296", "is no family", ""},
      {"allow a\x01\xff", "unknown system call a\\x01\\xff", ""},
      {std::string(600, ' '), "line 1 is too long", "at most 512"},
      {std::string(kMaxProfileBytes + 1, '\n'), "too long", "at most"},
  };
  for (const auto& one : wrong) {
    auto rules = ParseProfile(one.text);
    ASSERT_FALSE(rules.ok()) << one.text;
    EXPECT_THAT(rules.error().message(), HasSubstr(one.said));
    EXPECT_THAT(rules.error().remedy(), HasSubstr(one.remedy)) << one.text;
    EXPECT_FALSE(rules.error().remedy().empty()) << one.text;
  }
  std::string many;
  for (size_t i = 0; i <= kMaxProfileRules; i++) many += "allow bpf\n";
  EXPECT_THAT(ParseProfile(many).error().message(), HasSubstr("too many rules"));
}

TEST(Learning, RefusesWhatOtherWallsDoNotHold) {
  for (const char* call : {"clone", "unshare", "setns", "mount", "move_mount", "bpf", "keyctl",
                           "request_key", "io_uring_setup", "open_by_handle_at", "syslog",
                           "init_module", "kexec_load", "ioctl", "perf_event_open", "reboot"})
    EXPECT_NE(WhyNotLearnt({Number(call), {}}), "") << call;
  for (const char* call : {"personality", "ptrace", "process_vm_readv", "userfaultfd", "mbind",
                           "name_to_handle_at", "fanotify_init", "memfd_secret"})
    EXPECT_EQ(WhyNotLearnt({Number(call), {}}), "") << call;
  EXPECT_EQ(WhyNotLearnt({Number("socket"), {AF_ALG}}), "");
  EXPECT_EQ(WhyNotLearnt({Number("socket"), {AF_NETLINK, 0, 9}}), "");
  for (uint32_t family : {40u, 31u, 15u, 30u, 200u})  // vsock, bluetooth, key, tipc, unheard of
    EXPECT_NE(WhyNotLearnt({Number("socket"), {family}}), "") << family;
  EXPECT_NE(WhyNotLearnt({999, {}}), "");
}

TEST(Learning, WritesAProfileThatAllowsWhatWasSeen) {
  RefusalTable seen;
  CallKind alg = KindOf(Number("socket"), {AF_ALG, 5, 0});
  CallKind persona = KindOf(Number("personality"), {0x20000});
  CallKind nested = KindOf(Number("clone"), {CLONE_NEWUSER | 17});
  for (int i = 0; i < 3; i++) seen.Note(alg, EAFNOSUPPORT, true);
  seen.Note(persona, EPERM, true);
  seen.Note(nested, EPERM, false, WhyNotLearnt(nested));
  auto base = *ParseProfile("deny mlock");
  std::string text = LearntProfile("a\nallow bpf", base, seen);
  EXPECT_THAT(text, HasSubstr("deny mlock\nallow socket family=AF_ALG  # 3 times\n"
                              "allow personality persona=UNAME26  # 1 time\n"));
  EXPECT_THAT(text, HasSubstr("\n# clone flags=CLONE_NEWUSER: 1 time; a namespace"));
  auto rules = *ParseProfile(text);
  ASSERT_EQ(rules.size(), 3u);
  auto policy = *CallPolicy::Create(rules);
  EXPECT_EQ(policy.Decide(Number("socket"), {AF_ALG, 2, 1}).error, 0);
  EXPECT_EQ(policy.Decide(Number("socket"), {AF_VSOCK}).error, EAFNOSUPPORT);
  EXPECT_EQ(policy.Decide(Number("personality"), {0x20000}).error, 0);
  EXPECT_EQ(policy.Decide(Number("personality"), {0x20001}).error, EPERM);
  EXPECT_EQ(policy.Decide(Number("clone"), {CLONE_NEWUSER | 17}).error, EPERM);
  EXPECT_EQ(policy.Decide(Number("bpf"), {}).error, EPERM);
}

TEST(Learning, SaysWhenItIsIncomplete) {
  RefusalTable seen;
  for (uint32_t i = 0; i < 300; i++) seen.Note({Number("personality"), {i}}, EPERM, true);
  std::string text = LearntProfile("x", {}, seen);
  EXPECT_THAT(text, HasSubstr("# Incomplete: 44 calls"));
  EXPECT_EQ(ParseProfile(text)->size(), RefusalTable::kMaxKinds);
}

}  // namespace
}  // namespace msb::box
