// SPDX-License-Identifier: Apache-2.0
// One machine without supervisor or jail, for comparisons of machines: ours on KVM, or QEMU's
// microvm on KVM, with the same kernel, initramfs, disks and agent.
//
//   msb-bench-machine vmm|qemu PROGRAM KERNEL INITRAMFS ROOT UPPER MEMORY_MIB [COMMAND...]
//
// JSON on stdout: when the program was started and when the agent said hello, in nanoseconds of
// CLOCK_MONOTONIC, which kernel traces can be told to use; and, with a command, the bytes of its
// stdout and the time they took. A machine that does not get there is told with its console's end.

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json_writer.h"
#include "base/text.h"
#include "base/units.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "sandbox/backend.h"
#include "sandbox/qemu_command.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/socket.h"

namespace msb {
namespace {

using protocol::Type;

constexpr auto kBootPatience = std::chrono::seconds(120);
constexpr uint64_t kWindow = 1 << 20;

// How much of the console's end an error shows.
constexpr size_t kKeptConsole = 1500;

int64_t Nanoseconds(Clock::duration duration) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

struct Request {
  bool qemu = false;
  std::string program, kernel, initramfs, root, upper;
  uint64_t memory_mib = 0;
  std::vector<std::string> command;
};

// The console must be drained, or the guest's processor stops in its driver.
struct Machine {
  sys::Child child;
  UniqueFd agent, console, control;
};

// QEMU's own line under KVM: what fits TCG only is replaced.
std::vector<std::string> QemuOnKvm(const Request& request, const sandbox::QemuNumbers& numbers) {
  sandbox::MachineSpec spec{.memory_bytes = request.memory_mib * kMiB};
  auto argv = sandbox::QemuCommand(request.program, spec, numbers, 0);
  for (size_t i = 0; i + 1 < argv.size(); i++) {
    std::string& value = argv[i + 1];
    if (argv[i] == "-accel") value = "kvm";
    if (argv[i] == "-cpu") value = "host,-pku";
    if (argv[i] == "-kernel") value = request.kernel;
    if (argv[i] == "-initrd") value = request.initramfs;
    // The words of msb-vmm. QEMU puts the devices behind them.
    if (argv[i] == "-append")
      value = "console=hvc0 reboot=t panic=-1 tsc=reliable noreplace-smp quiet";
  }
  // Its own filter costs QEMU time at the start; msb-vmm keeps its own.
  auto sandbox = std::find(argv.begin(), argv.end(), "-sandbox");
  argv.erase(sandbox, sandbox + 2);
  return argv;
}

std::vector<std::string> OurLine(const Request& request) {
  return {request.program,
          "--cpus",
          "1",
          "--memory",
          Cat(request.memory_mib * kMiB),
          "--kvm",
          "10",
          "--kernel",
          "11",
          "--initramfs",
          "12",
          "--root",
          "13",
          "--upper",
          "14",
          "--agent",
          "15",
          "--console",
          "16",
          "--control",
          "17"};
}

Result<Machine> StartMachine(const Request& request, Clock::time_point& began) {
  UniqueFd root = TRY(sys::OpenAt(sys::Cwd(), request.root, O_RDONLY));
  UniqueFd upper = TRY(sys::OpenAt(sys::Cwd(), request.upper, O_RDWR));
  auto agent = TRY(sys::MakeSocketPair());
  auto console = TRY(sys::MakeSocketPair());
  auto control = TRY(sys::MakeSocketPair(request.qemu ? SOCK_STREAM : SOCK_SEQPACKET));
  sys::SpawnOptions spawn;
  spawn.die_with_parent = true;
  spawn.env = sys::CurrentEnvironment();
  spawn.program = request.program;
  UniqueFd kvm, kernel, initramfs;
  if (request.qemu) {
    sandbox::QemuNumbers numbers;
    spawn.argv = QemuOnKvm(request, numbers);
    spawn.fds = {{agent.second.get(), numbers.agent},
                 {console.second.get(), numbers.console},
                 {control.second.get(), numbers.monitor},
                 {root.get(), numbers.root_disk},
                 {upper.get(), numbers.upper_disk}};
  } else {
    kvm = TRY(sys::OpenAt(sys::Cwd(), "/dev/kvm", O_RDWR));
    kernel = TRY(sys::OpenAt(sys::Cwd(), request.kernel, O_RDONLY));
    initramfs = TRY(sys::OpenAt(sys::Cwd(), request.initramfs, O_RDONLY));
    spawn.argv = OurLine(request);
    spawn.fds = {{kvm.get(), 10},
                 {kernel.get(), 11},
                 {initramfs.get(), 12},
                 {root.get(), 13},
                 {upper.get(), 14},
                 {agent.second.get(), 15},
                 {console.second.get(), 16},
                 {control.second.get(), 17}};
  }
  began = Clock::now();
  auto child = TRY(sys::Spawn(spawn));
  return Machine{std::move(child), std::move(agent.first), std::move(console.first),
                 std::move(control.first)};
}

// Frames of the agent, the console drained meanwhile.
class Channel {
 public:
  explicit Channel(Machine& machine) : machine_(machine) {}
  void Add(protocol::Header header, std::span<const std::byte> body = {}) {
    protocol::AppendFrame(out_, header, body);
  }
  Result<void> Send() {
    TRY(sys::WriteAll(machine_.agent, out_));
    out_.clear();
    return {};
  }
  Result<protocol::Frame> Next(Deadline deadline) {
    while (true) {
      if (auto frame = TRY(reader_.Next())) return *frame;
      pollfd watched[] = {{machine_.agent.get(), POLLIN, 0},
                          {machine_.console.get(), POLLIN, 0},
                          {machine_.control.get(), POLLIN, 0}};
      if (::poll(watched, 3, deadline.PollTimeout()) <= 0)
        return Error(Code::kDeadlineExceeded, Cat("the machine says nothing", Console()));
      if (watched[1].revents != 0) Drain(machine_.console, &console_);
      if (watched[2].revents != 0) Drain(machine_.control, nullptr);
      if (watched[0].revents == 0) continue;
      auto count = sys::ReadSome(machine_.agent, reader_.Space());
      if (!count || *count == 0)
        return Error(Code::kUnavailable, Cat("the machine closed the channel", Console()));
      reader_.Filled(*count);
    }
  }

 private:
  static void Drain(BorrowedFd fd, std::string* kept) {
    char bytes[65536];
    ssize_t count = ::recv(fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (count <= 0 || kept == nullptr) return;
    kept->append(bytes, static_cast<size_t>(count));
    if (kept->size() > kKeptConsole) kept->erase(0, kept->size() - kKeptConsole);
  }
  std::string Console() const {
    return console_.empty() ? std::string("; its console is empty") : "; its console: " + console_;
  }

  Machine& machine_;
  std::string console_;
  protocol::FrameReader reader_;
  std::vector<std::byte> out_;
};

// Kept of what a command says, for those whose output is the answer.
constexpr size_t kKeptOutput = 256 * kKiB;

struct Output {
  uint64_t bytes = 0;
  std::string text;
  int64_t nanoseconds = 0;
};

// Reads an exec's stdout to its end, credit given again at every half window.
Result<Output> RunCommand(Channel& channel, const std::vector<std::string>& argv) {
  Output output;
  auto began = Clock::now();
  channel.Add({.type = Type::kExecOpen, .exec = 1}, Encode(protocol::ExecSpec{.argv = argv}));
  uint64_t limit = kWindow;
  for (uint8_t fd : {uint8_t{1}, uint8_t{2}})
    channel.Add({.type = Type::kCredit, .fd = fd, .exec = 1}, protocol::EncodeU64(kWindow));
  TRY(channel.Send());
  while (true) {
    auto frame = TRY(channel.Next(Deadline::After(std::chrono::seconds(300))));
    if (frame.header.type == Type::kExecExit) break;
    if (frame.header.type == Type::kExecFailed) return Error(Code::kInternal, "exec refused");
    if (frame.header.type != Type::kData || frame.header.fd != 1) continue;
    output.bytes += frame.body.size();
    if (output.bytes <= kKeptOutput) output.text += AsText(frame.body);
    if (limit - output.bytes > kWindow / 2) continue;
    limit = output.bytes + kWindow;
    channel.Add({.type = Type::kCredit, .fd = 1, .exec = 1, .offset = output.bytes},
                protocol::EncodeU64(limit));
    TRY(channel.Send());
  }
  output.nanoseconds = Nanoseconds(Clock::now() - began);
  return output;
}

Result<std::string> Measure(const Request& request) {
  Clock::time_point began;
  Machine machine = TRY(StartMachine(request, began));
  Channel channel(machine);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  protocol::MachineConfig config{.hostname = "bench",
                                 .realtime_ns = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec};
  channel.Add({.type = Type::kHello}, Encode(protocol::Hello{.epoch = 1}));
  channel.Add({.type = Type::kConfig}, Encode(config));
  TRY(channel.Send());
  auto frame = TRY(channel.Next(Deadline::After(kBootPatience)));
  auto greeted = Clock::now();
  if (frame.header.type != Type::kHello) return Error(Code::kInternal, "no hello first");

  JsonWriter json;
  json.BeginObject();
  json.Key("spawned_ns").Number(Nanoseconds(began.time_since_epoch()));
  json.Key("hello_ns").Number(Nanoseconds(greeted.time_since_epoch()));
  if (!request.command.empty()) {
    Output output = TRY(RunCommand(channel, request.command));
    json.Key("stdout_bytes").Number(output.bytes);
    json.Key("stdout_ns").Number(output.nanoseconds);
    if (output.bytes <= kKeptOutput) json.Key("stdout").String(output.text);
  }
  json.EndObject();
  return std::move(json).Take();
}

Result<Request> Parse(const std::vector<std::string>& words) {
  auto memory = words.size() < 7 ? std::nullopt : ParseNumber<uint64_t>(words[6]);
  if (!memory || (words[0] != "vmm" && words[0] != "qemu"))
    return Error(Code::kInvalidArgument,
                 "usage: msb-bench-machine vmm|qemu PROGRAM KERNEL INITRAMFS ROOT UPPER MEMORY_MIB "
                 "[COMMAND...]");
  return Request{words[0] == "qemu", words[1], words[2], words[3],
                 words[4],           words[5], *memory,  {words.begin() + 7, words.end()}};
}

}  // namespace
}  // namespace msb

int main(int argc, char** argv) {
  auto request = msb::Parse({argv + 1, argv + argc});
  auto result =
      request ? msb::Measure(*request) : msb::Result<std::string>(std::move(request).error());
  std::string text = result ? *result : "msb-bench-machine: " + result.error().message();
  (void)msb::sys::WriteAll(msb::BorrowedFd::Raw(result ? 1 : 2), text + "\n");
  return result ? 0 : 1;
}
