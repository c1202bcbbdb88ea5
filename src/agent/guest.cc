// SPDX-License-Identifier: Apache-2.0
// The order of a guest's start. Before the hello: devices, port, root. While it travels: the other
// file systems, the cgroup, the loopback. After the first exec's start: what nobody waits for.

#include "agent/guest.h"

#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "agent/accounts.h"
#include "agent/boot_clock.h"
#include "agent/first_process.h"
#include "agent/orderly_end.h"
#include "agent/port.h"
#include "agent/reaper.h"
#include "agent/root.h"
#include "agent/session.h"
#include "base/text.h"
#include "sys/file.h"

namespace msb::agent {
namespace {

constexpr const char* kPortPath = "/dev/vport0p1";

// One line on the console, through the kernel's log: "quiet" shows errors.
void Note(std::string_view line) {
  auto kmsg = sys::OpenAt(sys::Cwd(), "/dev/kmsg", O_WRONLY | O_NOCTTY);
  if (kmsg.ok()) (void)sys::WriteAll(*kmsg, Cat("<3>msb-agent: ", line, "\n"));
}

// A failure that the guest can live with.
void Tolerate(std::string_view doing, const Result<void>& result) {
  if (!result.ok()) Note(Cat(doing, ": ", result.error().message()));
}

// 0, 1 and 2 must be taken before the first descriptor of ours: a child's dup2() would hit it.
void TakeStdio() {
  for (int fd = 0; fd < 3; ++fd)
    // NOLINTNEXTLINE(android-cloexec-open): the three that programs inherit.
    if (::fcntl(fd, F_GETFD) == -1) ::open("/dev/null", O_RDWR);
}

Result<void> BringUpLoopback() {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return Error::Errno("socket");
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) == -1)
    return Error::Errno("ioctl SIOCSIFFLAGS lo");
  return {};
}

Result<void> WriteSysctl(const char* path, std::string_view value) {
  auto fd = TRY(sys::OpenAt(sys::Cwd(), Cat("/proc/sys/", path), O_WRONLY));
  return sys::WriteAll(fd, value).Context(path);
}

void TuneKernel() {
  // By memory, which would allow 2048 in a guest of 256 MiB; the cgroup's limit is ours.
  Tolerate("sysctl", WriteSysctl("kernel/threads-max", "32768"));
  // As in containers: ping and low ports without privilege.
  Tolerate("sysctl", WriteSysctl("net/ipv4/ping_group_range", "0 2147483647"));
  Tolerate("sysctl", WriteSysctl("net/ipv4/ip_unprivileged_port_start", "0"));
}

Result<void> AddEntropy(std::string_view bytes) {
  // rand_pool_info: two ints (bits of entropy, bytes), then the bytes.
  std::array<int, 2 + 64 / sizeof(int)> pool{};
  size_t size = std::min<size_t>(bytes.size(), 64);
  pool[0] = static_cast<int>(size * 8);
  pool[1] = static_cast<int>(size);
  std::memcpy(pool.data() + 2, bytes.data(), size);
  auto fd = TRY(sys::OpenAt(sys::Cwd(), "/dev/urandom", O_RDWR));
  if (::ioctl(fd.get(), RNDADDENTROPY, pool.data()) == -1)
    return Error::Errno("ioctl RNDADDENTROPY");
  return {};
}

Result<void> SetClock(int64_t realtime_ns) {
  timespec now{.tv_sec = realtime_ns / 1'000'000'000, .tv_nsec = realtime_ns % 1'000'000'000};
  if (::clock_settime(CLOCK_REALTIME, &now) == -1) return Error::Errno("clock_settime");
  return {};
}

class Guest final : public Session::Machine {
 public:
  explicit Guest(std::unique_ptr<event::Loop> loop)
      : loop_(std::move(loop)), port_(*loop_, kPortPath) {}

  // Everything until the machine ends; the error is why it must.
  Result<void> Run();
  [[noreturn]] void PowerOff(std::string_view reason);

 private:
  protocol::Hello MakeHello() override;
  void Configure(const protocol::MachineConfig& config) override;
  void Shutdown() override { orderly_end_.Begin(); }
  void Disconnected(const std::string& why) override;

  Result<void> Listen();
  Result<void> MakeSession();

  std::unique_ptr<event::Loop> loop_;
  BootClock clock_;
  Port port_;
  Root root_;
  bool keep_upper_ = false;
  bool first_hello_ = true;
  OrderlyEnd orderly_end_{[this] { PowerOff("shutdown"); }};
  std::unique_ptr<Accounts> accounts_;
  std::unique_ptr<ExecGroups> groups_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Reaper> reaper_;
};

Result<void> Guest::Run() {
  TRY(MountDev());
  TakeStdio();
  // Opening it makes the host send what it has queued, while we mount.
  TRY(port_.Open(Deadline::After(std::chrono::seconds(10))).Context("agent port"));
  const char* upper = std::getenv("MSB_UPPER");
  keep_upper_ = upper != nullptr && std::string_view(upper) == "keep";
  root_ = TRY(MountRoot({.keep_upper = keep_upper_}).Context("mount root"));
  clock_.Mark("root mounted");
  TRY(MakeSession());
  TRY(Listen());
  // The hello is on its way, frames that come meanwhile wait for the loop.
  TRY(FinishRoot(root_).Context("mount root"));
  TuneKernel();
  Tolerate("loopback", BringUpLoopback());
  Tolerate("container stores", BindContainerStores(root_));
  if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == -1)
    Note(Error::Errno("mlockall").message());
  return loop_->Run();
}

// The cgroup is made on first use, after FinishRoot.
class LateCgroups final : public ExecGroups {
 public:
  explicit LateCgroups(const Root& root) : root_(root) {}
  Result<std::unique_ptr<ExecGroup>> Take() override {
    if (groups_ == nullptr) groups_ = MakeCgroups(TRY(MakeSandboxCgroup(root_)));
    return groups_->Take();
  }
  void GiveBack(std::unique_ptr<ExecGroup> group) override { groups_->GiveBack(std::move(group)); }
  void Tidy() override {
    if (groups_ != nullptr) groups_->Tidy();
  }
  void Sweep() override {
    if (groups_ != nullptr) groups_->Sweep();
  }
  void KillAll() override {
    if (groups_ != nullptr) groups_->KillAll();
  }

 private:
  const Root& root_;
  std::unique_ptr<ExecGroups> groups_;
};

Result<void> Guest::MakeSession() {
  accounts_ = std::make_unique<Accounts>(TRY(sys::Duplicate(root_.root)));
  groups_ = std::make_unique<LateCgroups>(root_);
  session_ = std::make_unique<Session>(*loop_, *this, *groups_, *accounts_);
  auto* session = session_.get();
  reaper_ = TRY(Reaper::Create(
      *loop_,
      [session](pid_t pid, int status, const struct rusage& usage) {
        session->OnChildExit(pid, status, usage);
      },
      [this, session] {
        session->Flush();
        orderly_end_.EndWhenAlone();
      }));
  return {};
}

Result<void> Guest::Listen() {
  return port_
      .WaitForHost([this](UniqueFd fd) {
        auto attached = session_->Attach(std::move(fd));
        if (!attached.ok()) Disconnected(attached.error().message());
      })
      .Context("agent port");
}

void Guest::Disconnected(const std::string& why) {
  Note(Cat("agent channel: ", why));
  // From the loop: this may be the middle of a dispatch.
  loop_->Post([this] {
    auto listening = Listen();
    if (!listening.ok()) PowerOff(listening.error().message());
  });
}

protocol::Hello Guest::MakeHello() {
  if (first_hello_) clock_.Mark("hello");
  first_hello_ = false;
  protocol::Hello hello;
  struct utsname name {};
  if (::uname(&name) == 0) hello.release = static_cast<const char*>(name.release);
  hello.stages = clock_.Stages();
  return hello;
}

void Guest::Configure(const protocol::MachineConfig& config) {
  if (config.realtime_ns > 0) Tolerate("clock", SetClock(config.realtime_ns));
  if (!config.entropy.empty()) Tolerate("entropy", AddEntropy(config.entropy));
  if (!config.hostname.empty()) {
    if (::sethostname(config.hostname.data(), config.hostname.size()) == -1)
      Note(Error::Errno("sethostname").message());
    Tolerate("/etc/hostname", WriteEtcFile(root_.root, "hostname", Cat(config.hostname, "\n")));
    Tolerate("/etc/hosts",
             WriteEtcFile(root_.root, "hosts",
                          Cat("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
                              "127.0.1.1\t",
                              config.hostname, "\n")));
  }
  if (!config.resolv_conf.empty())
    Tolerate("/etc/resolv.conf", WriteEtcFile(root_.root, "resolv.conf", config.resolv_conf));
}

void Guest::PowerOff(std::string_view reason) {
  if (groups_ != nullptr) groups_->KillAll();
  if (keep_upper_ && root_.upper) ::syncfs(root_.upper.get());
  if (session_ != nullptr) {
    session_->Goodbye(reason);
    // A host that takes nothing any more must not keep us.
    auto deadline = Deadline::After(std::chrono::milliseconds(200));
    while (!session_->quiet() && !deadline.Passed() && loop_->RunOnce(deadline).ok()) {
    }
    // Closing waits in the kernel until the host has seen it, and so all that came before.
    session_->Detach();
  }
  // There is no power switch: with reboot=t the reset is a triple fault, which ends the machine.
  ::reboot(RB_AUTOBOOT);
  std::abort();
}

}  // namespace

void RunGuest() {
  PrepareFirstProcess();
  auto loop = event::Loop::Create();
  if (!loop.ok()) std::abort();
  Guest guest(*std::move(loop));
  auto ended = guest.Run();
  std::string reason = ended.ok() ? "ended" : ended.error().message();
  Note(reason);
  guest.PowerOff(reason);
}

}  // namespace msb::agent
