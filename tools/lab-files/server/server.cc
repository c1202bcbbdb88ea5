// SPDX-License-Identifier: Apache-2.0
// The lab's own server: the initramfs' /init, then the process that starts commands for the host
// and carries their bytes. It shares no code with the project's programs, because it runs their
// tests: a broken agent must not look like a broken lab.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clock_rate.h"
#include "init.h"
#include "run.h"
#include "wire.h"

namespace lab {
namespace {

constexpr int kGraceMilliseconds = 1000;  // from SIGHUP to SIGKILL when a client is gone

int64_t Now(clockid_t clock = CLOCK_MONOTONIC) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// The port that the host named "lab"; -1 when there is none.
int OpenPort() {
  DIR* ports = opendir("/sys/class/virtio-ports");
  if (ports == nullptr) return -1;
  int port = -1;
  while (const dirent* entry = readdir(ports)) {
    const std::string file = std::string("/sys/class/virtio-ports/") + entry->d_name + "/name";
    char name[16] = {};
    const int from = open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (from < 0) continue;
    if (read(from, name, sizeof name - 1) > 0 && std::strcmp(name, "lab\n") == 0) {
      port = open((std::string("/dev/") + entry->d_name).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    }
    close(from);
  }
  closedir(ports);
  return port;
}

uint32_t ReadNumber(std::string_view body) {
  uint32_t value = 0;
  if (body.size() >= sizeof value) std::memcpy(&value, body.data(), sizeof value);
  return value;
}

// One thread, one poll: the port, SIGCHLD, and the streams of every run.
class Server {
 public:
  Server(int port, int children, std::string cgroups)
      : port_(port), children_(children), cgroups_(std::move(cgroups)) {}

  [[noreturn]] void Serve() {
    const uint32_t up = static_cast<uint32_t>(Now(CLOCK_BOOTTIME));
    SendNumber(Type::kHello, 0, up);
    for (;;) Turn();
  }

 private:
  void Turn() {
    std::vector<pollfd> waits{
        {port_, static_cast<short>(POLLIN | (unsent_.empty() ? 0 : POLLOUT)), 0},
        {children_, POLLIN, 0}};
    for (const auto& [channel, run] : runs_) {
      if (run->WantsInput() >= 0) waits.push_back({run->WantsInput(), POLLOUT, 0});
      if (run->out() >= 0) waits.push_back({run->out(), POLLIN, 0});
      if (run->err() >= 0) waits.push_back({run->err(), POLLIN, 0});
    }
    poll(waits.data(), waits.size(), hung_up_.empty() ? -1 : kGraceMilliseconds / 4);
    if (waits[0].revents != 0) ReceiveFromHost();
    if (waits[1].revents != 0) Reap();
    KillThoseHungUp();
    for (auto each = runs_.begin(); each != runs_.end();)
      each = Pump(*each->second) ? std::next(each) : runs_.erase(each);
    Flush();
  }

  // Moves what can be moved. False when the run is over and told.
  bool Pump(Run& run) {
    if (const uint32_t taken = run.PushInput()) SendNumber(Type::kCredit, run.channel(), taken);
    for (const int descriptor : {1, 2}) {
      // A bounded share of each turn, so that one loud run does not keep the others waiting.
      for (int times = 0; times < 4; ++times) {
        const std::string bytes = run.ReadOutput(descriptor);
        if (bytes.empty()) break;
        Send(Type::kOutput, static_cast<uint8_t>(descriptor), run.channel(), bytes);
      }
    }
    if (!run.status() || !run.drained()) return true;
    SendNumber(Type::kExit, run.channel(), static_cast<uint32_t>(*run.status()));
    return false;
  }

  void ReceiveFromHost() {
    char buffer[65536];
    const ssize_t size = read(port_, buffer, sizeof buffer);
    // The host's keeper is gone, and with it the reason to be.
    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) PowerOff();
    if (size > 0) received_.append(buffer, static_cast<size_t>(size));
    size_t at = 0;
    Header header;
    while (received_.size() - at >= sizeof header) {
      std::memcpy(&header, received_.data() + at, sizeof header);
      if (received_.size() - at < sizeof header + header.length) break;
      Handle(header, std::string_view(received_).substr(at + sizeof header, header.length));
      at += sizeof header + header.length;
    }
    received_.erase(0, at);
  }

  void Handle(const Header& header, std::string_view body) {
    const Type type = static_cast<Type>(header.type);
    if (type == Type::kOpen) return Open(header, body);
    if (type == Type::kMount) return MountShare(header.extra != 0, body);
    if (type == Type::kPowerOff) PowerOff();
    // The run itself may have ended, and what it left in the background not.
    if (type == Type::kHangUp) hung_up_[header.channel] = Now() + kGraceMilliseconds;
    const auto found = runs_.find(header.channel);
    // A frame may cross the run's end on its way.
    if (found == runs_.end()) return;
    Run& run = *found->second;
    if (type == Type::kInput) {
      run.QueueInput(body);
    } else if (type == Type::kCredit) {
      run.GiveOutputCredit(ReadNumber(body));
    } else if (type == Type::kSignal) {
      run.Signal(header.extra);
    } else if (type == Type::kResize && body.size() >= 4) {
      uint16_t size[2];
      std::memcpy(size, body.data(), sizeof size);
      run.Resize(size[0], size[1]);
    } else if (type == Type::kHangUp) {
      run.Signal(SIGHUP);
      run.Signal(SIGCONT);
      // Nobody takes its output any more.
      run.GiveOutputCredit(1U << 30);
    }
  }

  void Open(const Header& header, std::string_view body) {
    std::string& whole = opening_[header.channel];
    whole += body;
    if (header.extra != 0 && whole.size() <= kLargestOpen) return;
    const std::optional<OpenRequest> request = ParseOpen(whole);
    opening_.erase(header.channel);
    if (!request) return Fail(header.channel, {EINVAL, "read the request"});
    ForgetFiles();
    auto run = std::make_unique<Run>(header.channel, CgroupOf(header.channel));
    if (const std::optional<Failure> failure = run->Start(*request))
      return Fail(header.channel, *failure);
    runs_[header.channel] = std::move(run);
    SendNumber(Type::kCredit, header.channel, kWindow);
  }

  // What the host replaced since it was last seen is stale to an overlay, and stays so, until its
  // names are forgotten. Costs 7 ms, and a tenth of a second to find the common files again.
  void ForgetFiles() {
    if (cgroups_.empty()) return;
    const int file = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    if (write(file, "2", 1) != 1)
      std::fprintf(stderr, "lab: drop_caches: %s\n", std::strerror(errno));
    close(file);
  }

  void MountShare(bool writable, std::string_view body) {
    const std::string text(body);
    const char* tag = text.c_str();
    const char* folder = tag + std::strlen(tag) + 1;
    // The folder is the host's, so it is in the root already, unless the root is another.
    for (size_t slash = 1; (slash = std::string(folder).find('/', slash)) != std::string::npos;
         ++slash) {
      mkdir(std::string(folder).substr(0, slash).c_str(), 0755);
    }
    mkdir(folder, 0755);
    const unsigned long flags = writable ? 0 : MS_RDONLY;
    const int failed = mount(tag, folder, "virtiofs", flags, nullptr) == 0 ? 0 : errno;
    SendNumber(Type::kMounted, 0, static_cast<uint32_t>(failed));
  }

  void Fail(uint32_t channel, const Failure& failure) {
    std::string body(sizeof(uint32_t), '\0');
    const uint32_t number = static_cast<uint32_t>(failure.error);
    std::memcpy(body.data(), &number, sizeof number);
    Send(Type::kFailed, 0, channel, body + failure.what.substr(0, 4096));
  }

  // Children of runs that ended become ours when this is PID 1.
  void Reap() {
    signalfd_siginfo info;
    while (read(children_, &info, sizeof info) > 0) {
    }
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      for (const auto& [channel, run] : runs_) {
        if (run->pid() == pid && !run->status()) run->Ended(status);
      }
    }
  }

  void KillThoseHungUp() {
    for (auto each = hung_up_.begin(); each != hung_up_.end();) {
      if (Now() < each->second) {
        ++each;
        continue;
      }
      const auto found = runs_.find(each->first);
      if (found != runs_.end()) found->second->Signal(SIGKILL);
      KillCgroup(CgroupOf(each->first));
      each = hung_up_.erase(each);
    }
  }

  std::string CgroupOf(uint32_t channel) const {
    return cgroups_ + "/run-" + std::to_string(channel);
  }

  void SendNumber(Type type, uint32_t channel, uint32_t number) {
    char body[sizeof number];
    std::memcpy(body, &number, sizeof number);
    Send(type, 0, channel, std::string_view(body, sizeof body));
  }

  void Send(Type type, uint8_t extra, uint32_t channel, std::string_view body) {
    const Header header{static_cast<uint8_t>(type), extra, static_cast<uint16_t>(body.size()),
                        channel};
    unsent_.append(reinterpret_cast<const char*>(&header), sizeof header);
    unsent_ += body;
  }

  void Flush() {
    size_t at = 0;
    while (at < unsent_.size()) {
      const ssize_t size =
          write(port_, unsent_.data() + at, std::min<size_t>(unsent_.size() - at, kLargestBody));
      if (size <= 0) break;
      at += static_cast<size_t>(size);
    }
    unsent_.erase(0, at);
  }

  [[noreturn]] void PowerOff() {
    if (cgroups_.empty()) _exit(0);
    sync();
    reboot(RB_AUTOBOOT);
    for (;;) pause();
  }

  int port_;
  int children_;
  std::string cgroups_;  // the folder that runs get theirs in; empty: not in a lab
  std::string received_;
  std::string unsent_;
  std::map<uint32_t, std::string> opening_;
  std::map<uint32_t, std::unique_ptr<Run>> runs_;
  std::map<uint32_t, int64_t> hung_up_;  // channel -> when it is killed
};

[[noreturn]] void Serve(int port, std::string cgroups) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const int children = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  Server(port, children, std::move(cgroups)).Serve();
}

}  // namespace
}  // namespace lab

// As /init: assembles the lab and serves, or becomes systemd, which starts this again with
// --service.
// --serve FD: serves on a socket of this machine, for tests. --clock-rate: see PrintClockRate.
int main(int count, char** arguments) {
  const std::string_view mode = count > 1 ? arguments[1] : "";
  if (mode == "--clock-rate") return lab::PrintClockRate();
  if (mode == "--serve" && count > 2) {
    const int port = std::atoi(arguments[2]);
    fcntl(port, F_SETFL, O_NONBLOCK);
    fcntl(port, F_SETFD, FD_CLOEXEC);
    lab::Serve(port, "");
  }
  if (mode != "--service") {
    lab::AssembleRoot();
    if (std::strcmp(lab::Option("init"), "systemd") == 0) lab::BecomeSystemd();
    lab::MountRest();
  }
  const std::string cgroups = lab::SettleIn();
  const int port = lab::OpenPort();
  if (port < 0) lab::Die("no virtio-serial port named lab");
  lab::Serve(port, cgroups);
}
