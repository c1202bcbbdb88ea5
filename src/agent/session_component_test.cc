// SPDX-License-Identifier: Apache-2.0
// Execs of real processes through a session over a socketpair: ends, users, signals, terminals.

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "agent/test_host.h"
#include "base/bytes.h"
#include "base/text.h"

namespace msb::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Session, SaysHelloWithoutBeingAsked) {
  TestHost host;
  host.Until([&] { return host.hellos == 1; });
}

TEST(Session, RunsAProgramAndTellsItsEnd) {
  TestHost host;
  auto exec = host.Run(Shell("echo out; echo err >&2; exit 7"));
  EXPECT_EQ(TestHost::End(exec), "exit 7");
  EXPECT_EQ(exec.output[1], "out\n");
  EXPECT_EQ(exec.output[2], "err\n");
  EXPECT_GT(exec.exit->spawn_to_exit_ns, 0u);
}

TEST(Session, EveryExitCodeComesBack) {
  TestHost host;
  for (int code : {0, 1, 2, 100, 125, 126, 127, 128, 255})
    EXPECT_EQ(TestHost::End(host.Run(Shell(Cat("exit ", code)))), Cat("exit ", code));
}

TEST(Session, SignalsComeBackAsSignals) {
  TestHost host;
  for (int signal : {SIGTERM, SIGKILL, SIGSEGV, SIGPIPE})
    EXPECT_EQ(TestHost::End(host.Run(Shell(Cat("kill -", signal, " $$")))), Cat("signal ", signal));
}

TEST(Session, NamesWhatCannotBeRun) {
  TestHost host;
  char directory[] = "/tmp/msb_agent_test_XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  auto write = [&](const char* name, const char* text) {
    std::string path = Cat(directory, "/", name);
    std::ofstream(path) << text;
    EXPECT_EQ(::chmod(path.c_str(), 0755), 0);
    return path;
  };
  auto end = [&](protocol::ExecSpec spec) { return TestHost::End(host.Run(std::move(spec))); };
  std::string lost = write("lost", "#!/no/such/interpreter\n");
  std::string plain = write("plain", "echo $0 $1\n");
  std::string data = write("data", "x");
  EXPECT_EQ(::chmod(data.c_str(), 0644), 0);

  EXPECT_EQ(end({.argv = {"no-such-program"}}), "failed 1");
  EXPECT_EQ(end({.argv = {"/no/such/program"}}), "failed 1");
  EXPECT_EQ(end({.argv = {""}}), "failed 1");
  EXPECT_EQ(end({.argv = {data}}), "failed 2") << "no permission to execute";
  EXPECT_EQ(end({.argv = {directory}}), "failed 2") << "a directory";
  EXPECT_EQ(end({.argv = {lost}}), "failed 2") << "its interpreter is missing";
  EXPECT_EQ(end({.argv = {"data"}, .env = {Cat("PATH=/nowhere:", directory)}}), "failed 2");
  EXPECT_EQ(end({.argv = {"true"}, .workdir = "/no/such/directory"}), "failed 4");
  EXPECT_EQ(end({.argv = {"true"}, .user = "no-such-user"}), "failed 3");
  auto script = host.Run({.argv = {plain, "one"}});
  EXPECT_EQ(script.output[1], Cat(plain, " one\n")) << "a script without #! is the shell's";
  for (const auto& path : {lost, plain, data}) ::unlink(path.c_str());
  ::rmdir(directory);
}

TEST(Session, LooksForProgramsInThePathOfTheExec) {
  TestHost host;
  auto exec = host.Run({.argv = {"sh", "-c", "echo $0"}, .env = {"PATH=/nowhere::/bin"}});
  EXPECT_EQ(TestHost::End(exec), "exit 0");
  EXPECT_EQ(TestHost::End(host.Run({.argv = {"sh"}, .env = {"PATH=/nowhere"}})), "failed 1");
}

TEST(Session, GivesWhatAProgramExpects) {
  TestHost host;
  auto exec = host.Run({.argv = {"/bin/sh", "-c", "pwd; echo $HOME $USER; echo $PATH; ulimit -n"},
                        .env = {"USER=someone"},
                        .workdir = "/tmp"});
  EXPECT_EQ(exec.output[1],
            "/tmp\n/root someone\n"
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n1024\n");
}

TEST(Session, AnExecHasThreeDescriptorsAndNoSignalBlocked) {
  TestHost host;
  auto fds = host.Run({.argv = {"/bin/ls", "/proc/self/fd"}, .stdin_open = true});
  EXPECT_EQ(fds.output[1], "0\n1\n2\n3\n") << "3 is the directory that ls reads";
  auto status = host.Run({.argv = {"/bin/grep", "^Sig[BI]", "/proc/self/status"}});
  EXPECT_THAT(status.output[1], HasSubstr("SigBlk:\t0000000000000000"));
}

TEST(Session, WithoutStdinReadsNothing) {
  TestHost host;
  EXPECT_EQ(host.Run({.argv = {"/bin/cat"}}).output[1], "");
}

TEST(Session, ClosedStdinOfTheProcessIsToldToTheHost) {
  TestHost host;
  auto spec = Shell("exec <&-; echo closed; sleep 5");
  spec.stdin_open = true;
  uint32_t id = host.Open(spec);
  host.Until([&] { return !host.exec(id).output[1].empty(); });
  host.Input(id, std::string(300000, 'x'));
  host.Until([&] { return host.exec(id).input_reset; });
}

TEST(Session, OutputOfAProcessThatIsKilledIsCompleteUpToTheKill) {
  TestHost host;
  uint32_t id = host.Open(Shell("seq 1 5000; echo end; exec sleep 100"));
  host.Pause(id, 1, true);
  host.Until([&] { return host.exec(id).pid.has_value(); });
  auto& output = host.exec(id).output[1];
  host.Until([&] { return output.size() >= 4 && output.ends_with("end\n"); });
  host.Send({.type = protocol::Type::kKill, .exec = id});
  host.Until([&] { return host.exec(id).ended(); });
  EXPECT_EQ(TestHost::End(host.exec(id)), "signal 9");
  EXPECT_EQ(output.size(), 23897u);
}

TEST(Session, DescendantsThatHoldTheOutputDoNotHoldTheExec) {
  TestHost host;
  // The child writes for as long as it may, and says in a file that nothing has stopped it.
  char path[] = "/tmp/msb_agent_alive_XXXXXX";
  UniqueFd file(::mkstemp(path));
  auto exec =
      host.Run(Shell(Cat("(i=0; while [ $i -lt 300 ]; do seq 1 500; i=$((i+1)); done; "
                         "echo alive > ",
                         path, ") & echo main")));
  EXPECT_EQ(TestHost::End(exec), "exit 0");
  EXPECT_THAT(exec.output[1], HasSubstr("main\n"));
  EXPECT_EQ(host.session().drains(), 0u) << "the close is on its way";
  auto alive = [&] {
    std::string text;
    std::getline(std::ifstream(path), text);
    return text == "alive";
  };
  host.Until(alive);
  host.Until([&] { return host.session().drains() == 0; });
  ::unlink(path);
}

TEST(Session, HangupReachesTheProcess) {
  TestHost host;
  uint32_t id = host.Open(Shell("trap 'exit 42' HUP; echo ready; while :; do sleep 0.01; done"));
  host.Until([&] { return host.exec(id).output[1] == "ready\n"; });
  host.Hangup(id);
  host.Until([&] { return host.exec(id).ended(); });
  EXPECT_EQ(TestHost::End(host.exec(id)), "exit 42");
}

TEST(Session, SignalsReachTheProcess) {
  TestHost host;
  uint32_t id =
      host.Open(Shell("trap 'echo got; exit 3' INT; echo ready; while :; do sleep 0.01; done"));
  host.Until([&] { return host.exec(id).output[1] == "ready\n"; });
  host.Signal(id, SIGINT);
  host.Until([&] { return host.exec(id).ended(); });
  EXPECT_EQ(TestHost::End(host.exec(id)), "exit 3");
}

TEST(Session, AnswersPingsAndTakesConfiguration) {
  TestHost host;
  host.Send({.type = protocol::Type::kPing}, AsBytes("x"));
  host.Send({.type = protocol::Type::kConfig}, Encode(protocol::MachineConfig{.hostname = "box"}));
  host.Send({.type = protocol::Type::kShutdown});
  host.Until([&] { return host.pongs == 1 && host.config && host.shut_down; });
  EXPECT_EQ(host.config->hostname, "box");
}

TEST(Session, ASecondOpenOfAnIdRepeatsTheAnswer) {
  TestHost host;
  uint32_t id = host.Open(Shell("echo once; exit 5"));
  host.Until([&] { return host.exec(id).ended(); });
  host.exec(id).pid.reset();
  host.exec(id).exit.reset();
  host.Send({.type = protocol::Type::kExecOpen, .exec = id}, Encode(Shell("echo twice")));
  host.Until([&] { return host.exec(id).ended(); });
  EXPECT_EQ(host.exec(id).output[1], "once\n");
  EXPECT_EQ(TestHost::End(host.exec(id)), "exit 5");
}

TEST(Session, OrphansAreReaped) {
  TestHost host;
  // Not the first process here: descendants are adopted only if we ask to be a subreaper.
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  auto exec = host.Run(Shell("(sleep 0.05 & echo $!) "));
  pid_t orphan =
      *ParseNumber<pid_t>(std::string_view(exec.output[1]).substr(0, exec.output[1].size() - 1));
  host.Until([&] { return ::kill(orphan, 0) == -1; });
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(Session, FaultsOfTheHostEndTheConnectionOnly) {
  TestHost host;
  uint32_t id = host.Open(Shell("read x; echo $x"));
  host.exec(id);
  host.Send({.type = protocol::Type::kStatus});
  host.Until([&] { return host.cut(); });
  EXPECT_THAT(host.disconnected, StartsWith("fault of the host"));
  host.Reconnect();
  EXPECT_EQ(TestHost::End(host.Run(Shell("exit 9"))), "exit 9");
}

}  // namespace
}  // namespace msb::agent
