// SPDX-License-Identifier: Apache-2.0
#include "programs/microbox/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "jail/box/policy.h"

namespace msb::microbox {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

Result<Options> Parse(std::vector<std::string_view> words) { return ParseOptions(words); }

TEST(Options, TheSeedsDefaults) {
  auto options = *Parse({"--", "true"});
  EXPECT_EQ(options.cpu_milli, 1000u);
  EXPECT_EQ(options.memory_bytes, kGiB);
  EXPECT_EQ(options.spec.storage_bytes, 512 * kMiB);
  EXPECT_EQ(options.spec.root, box::RootKind::kEmpty);
  EXPECT_EQ(options.spec.net, box::NetMode::kNone);
  EXPECT_EQ(options.spec.users, box::UserMode::kIsolated);
  EXPECT_THAT(options.spec.dns, ElementsAre("8.8.8.8", "8.8.4.4"));
  EXPECT_EQ(options.spec.capabilities, box::kDefaultCapabilities);
  EXPECT_THAT(options.spec.hostname, testing::StartsWith("sandbox-"));
  EXPECT_EQ(options.log_level, LogLevel::kError);
  EXPECT_FALSE(options.log_json);
}

TEST(Options, EndAtTheCommand) {
  auto options = *Parse({"--hostname", "box", "ls", "--cpus", "--", "-x"});
  EXPECT_THAT(options.spec.argv, ElementsAre("ls", "--cpus", "--", "-x"));
  EXPECT_THAT(Parse({"--", "--", "x"})->spec.argv, ElementsAre("--", "x"));
}

TEST(Options, ValuesInEitherForm) {
  auto options = *Parse({"--memory=256M", "--storage", "2GB", "-cpus", "0.5", "--env", "A=b=c",
                         "--env=A=2", "--", "x"});
  EXPECT_EQ(options.memory_bytes, 256 * kMiB);
  EXPECT_EQ(options.cpu_milli, 500u);
  EXPECT_THAT(options.spec.environment, Contains("A=2"));
  EXPECT_THAT(options.spec.environment, testing::Not(Contains("A=b=c")));
}

TEST(Options, CpusAreThousandths) {
  for (auto [text, milli] : std::initializer_list<std::pair<std::string_view, uint32_t>>{
           {"2", 2000}, {"0.5", 500}, {".25", 250}, {"1.", 1000}, {"0.0", 0}, {"1.9999", 1999}})
    EXPECT_EQ(Parse({"--cpus", text, "--", "x"})->cpu_milli, milli) << text;
}

TEST(Options, Capabilities) {
  EXPECT_EQ(Parse({"--cap-drop", "ALL", "--", "x"})->spec.capabilities, 0u);
  EXPECT_EQ(Parse({"--cap-drop", "all", "--cap-add", "CAP_CHOWN", "--", "x"})->spec.capabilities,
            1u);
  EXPECT_EQ(Parse({"--cap-drop", "CAP_SETPCAP,chown", "--", "x"})->spec.capabilities,
            box::kDefaultCapabilities & ~(1u << 8 | 1u));
}

TEST(Options, ResourceLimits) {
  auto options = *Parse({"--rlimit", "nofile=64:128", "--", "x"});
  ASSERT_EQ(options.spec.limits.size(), 2u);
  EXPECT_EQ(options.spec.limits[0].value.rlim_max, 128u);
  EXPECT_EQ(options.spec.limits[1].resource, RLIMIT_CORE);
  EXPECT_EQ(Parse({"--rlimit", "core=unlimited", "--", "x"})->spec.limits.size(), 1u);
}

TEST(Options, PlacesInMemory) {
  auto options = *Parse({"--tmpfs", "/a", "--tmpfs", "/b:1M", "--", "x"});
  ASSERT_EQ(options.spec.memories.size(), 2u);
  EXPECT_EQ(options.spec.memories[0].bytes, 64 * kMiB);
  EXPECT_EQ(options.spec.memories[1].target, "/b");
  EXPECT_EQ(options.spec.memories[1].bytes, kMiB);
}

TEST(Options, TheNetwork) {
  auto options = *Parse({"--net", "bridge", "--net-allow", "10.0.0.0/8", "--net-allow", "host",
                         "--publish", "8080:80", "--publish", "8080:80/udp", "--", "x"});
  EXPECT_TRUE(options.bridge && options.policy.host);
  EXPECT_EQ(options.spec.net, box::NetMode::kNone);
  EXPECT_THAT(options.policy.allowed, ElementsAre(network::Cidr{0x0A000000, 8}));
  EXPECT_THAT(options.policy.servers, ElementsAre(0x08080808u, 0x08080404u));
  EXPECT_EQ(options.ports.size(), 2u);
  EXPECT_EQ(Parse({"--net", "host", "--", "x"})->spec.net, box::NetMode::kHost);
  EXPECT_FALSE(Parse({"--net", "bridge", "--net", "none", "--", "x"})->bridge);
}

TEST(Options, WhatIsWrongIsNamedWithARemedy) {
  struct {
    std::vector<std::string_view> words;
    const char* said;
  } wrong[] = {
      {{}, "no command"},
      {{"--"}, "no command"},
      {{"--nosuch", "--", "x"}, "unknown option --nosuch"},
      {{"--fs", "/nosuch", "--", "x"}, "/nosuch"},
      {{"--fs", "/etc/passwd", "--", "x"}, "is not a directory"},
      {{"--fs"}, "--fs needs a value"},
      {{"--readonly=yes", "--", "x"}, "takes no value"},
      {{"--storage", "0B", "--", "x"}, "too little storage"},
      {{"--storage", "many", "--", "x"}, "--storage"},
      {{"--memory", "-1", "--", "x"}, "--memory"},
      {{"--cpus", "0.001", "--", "x"}, "no number of CPUs"},
      {{"--cpus", "nan", "--", "x"}, "no number of CPUs"},
      {{"--cpus", ".", "--", "x"}, "no number of CPUs"},
      {{"--cpus", "-1", "--", "x"}, "no number of CPUs"},
      {{"--cpus", "1.5x", "--", "x"}, "no number of CPUs"},
      {{"--cpus", "10000.001", "--", "x"}, "no number of CPUs"},
      {{"--cpus", "99999999999", "--", "x"}, "no number of CPUs"},
      {{"--pids", "x", "--", "x"}, "no number"},
      {{"--mount-ro", "/etc", "--", "x"}, "not HOST:DEST"},
      {{"--mount-rw", "/etc:etc", "--", "x"}, "not absolute"},
      {{"--mount-ro", "/etc:/a/../b", "--", "x"}, ".."},
      {{"--mount-ro", "/etc:/", "--", "x"}, "the root itself"},
      {{"--fs", "host", "--mount-ro", "/etc:/x", "--", "x"}, "--fs host"},
      {{"--net", "wifi", "--", "x"}, "no such network"},
      {{"--dns", "example.org", "--", "x"}, "no address"},
      {{"--net", "bridge", "--dns", "::1", "--", "x"}, "no IPv4 address"},
      {{"--net", "bridge", "--dns", "127.0.0.53", "--", "x"}, "the host's loopback"},
      {{"--net-allow", "host", "--", "x"}, "--net-allow says"},
      {{"--net", "bridge", "--net-allow", "10.0.0.1/8", "--", "x"}, "bits behind"},
      {{"--publish", "80:80", "--", "x"}, "--publish leads into a bridge"},
      {{"--net", "bridge", "--publish", "80", "--", "x"}, "is not [IP:]HOSTPORT:PORT"},
      {{"--net", "bridge", "--publish", "80:80", "--publish", "80:81", "--", "x"}, "twice"},
      {{"--hostname", "a b", "--", "x"}, "--hostname"},
      {{"--env", "=x", "--", "x"}, "--env: not KEY=VALUE"},
      {{"--env", "SECRET", "--", "x"}, "--env: not KEY=VALUE"},
      {{"--userns", "mine", "--", "x"}, "no such mode"},
      {{"--user", "70000", "--", "x"}, "no such id"},
      {{"--user", "1:2:3", "--", "x"}, "not UID[:GID]"},
      {{"--workdir", "tmp", "--", "x"}, "not absolute"},
      {{"--timeout", "soon", "--", "x"}, "--timeout"},
      {{"--cap-add", "CAP_NOSUCH", "--", "x"}, "unknown capability"},
      {{"--cap-add", "CHOWN", "--cap-drop", "CHOWN", "--", "x"}, "both added and dropped"},
      {{"--rlimit", "nofile", "--", "x"}, "not NAME=SOFT[:HARD]"},
      {{"--rlimit", "nofile=2:1", "--", "x"}, "above the hard one"},
      {{"--tmpfs", "/x:1B", "--", "x"}, "too little"},
      {{"--keep-fd", "999", "--", "x"}, "not open"},
      {{"--status-fd", "x", "--", "x"}, "no number"},
      {{"--log-level", "loud", "--", "x"}, "no such level"},
      {{"--log-format", "xml", "--", "x"}, "no such format"},
  };
  for (const auto& one : wrong) {
    auto options = Parse(one.words);
    std::string all;
    for (auto word : one.words) all += Cat(word, " ");
    ASSERT_FALSE(options.ok()) << all;
    EXPECT_THAT(options.error().message(), HasSubstr(one.said)) << all;
    EXPECT_FALSE(options.error().remedy().empty()) << all;
  }
}

TEST(Options, WhatWasMeantIsSaid) {
  struct {
    std::vector<std::string_view> words;
    const char* meant;
  } slips[] = {
      {{"--memroy", "1G", "--", "x"}, "did you mean --memory?"},
      {{"--log-denid", "--", "x"}, "did you mean --log-denied?"},
      {{"--fs", "tmfps", "--", "x"}, "did you mean tmpfs?"},
      {{"--net", "none0", "--", "x"}, "did you mean none?"},
      {{"--userns", "isolate", "--", "x"}, "did you mean isolated?"},
      {{"--log-level", "wran", "--", "x"}, "did you mean warn?"},
      {{"--log-format", "jsn", "--", "x"}, "did you mean json?"},
      {{"--cap-add", "CAP_NET_ADMN", "--", "x"}, "did you mean NET_ADMIN?"},
      {{"--rlimit", "nofiles=1", "--", "x"}, "did you mean nofile?"},
      {{"--zzzzzz", "--", "x"}, "microbox --help"},
      {{"--fs", "/nosuch/tree", "--", "x"}, "tmpfs, host, or a directory with a root tree"},
  };
  for (const auto& one : slips) EXPECT_EQ(Parse(one.words).error().remedy(), one.meant);
}

TEST(Options, ValuesOfTheEnvironmentAreNeverShown) {
  auto options = Parse({"--env", "=hunter2", "--", "x"});
  EXPECT_THAT(options.error().message(), testing::Not(HasSubstr("hunter2")));
}

TEST(Options, HelpNamesEveryOptionOfTheSeed) {
  std::string help = HelpText();
  for (const char* name : {"fs", "storage", "readonly", "mount-ro", "mount-rw", "net", "dns",
                           "hostname", "env", "cpus", "memory", "allow-syscall", "deny-syscall",
                           "cap-add", "cap-drop", "userns", "log-level", "log-format", "help"})
    EXPECT_THAT(help, HasSubstr(Cat("  --", name, " "))) << name;
  EXPECT_EQ(Parse({"--help"})->action, Options::Action::kHelp);
}

}  // namespace
}  // namespace msb::microbox
