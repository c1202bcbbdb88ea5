// SPDX-License-Identifier: Apache-2.0
#include "run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "wire.h"

namespace lab {
namespace {

constexpr char kEndOfFile = 4;  // VEOF of a new terminal

struct Pipe {
  int read = -1;
  int write = -1;
  bool Open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
  void Close() {
    for (int* end : {&read, &write}) {
      if (*end >= 0) close(*end);
      *end = -1;
    }
  }
  int Take(int& end) { return std::exchange(end, -1); }
};

template <class T>
bool Take(std::string_view& from, T& value) {
  if (from.size() < sizeof(T)) return false;
  std::memcpy(&value, from.data(), sizeof(T));
  from.remove_prefix(sizeof(T));
  return true;
}

bool TakeString(std::string_view& from, std::string& value) {
  const size_t end = from.find('\0');
  if (end == std::string_view::npos) return false;
  value = from.substr(0, end);
  from.remove_prefix(end + 1);
  return true;
}

void SetNonBlocking(int descriptor) {
  fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
}

bool WriteFile(const std::string& path, std::string_view text) {
  const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool done = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(file);
  return done;
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// What a child could not do, as it is sent back: errno and one of these.
enum class Step : int { kFolder, kTerminal, kExecute };

struct ChildReport {
  int error;
  Step step;
};

struct ChildEnds {
  int in, out, err, report;
  bool terminal;
};

[[noreturn]] void BecomeCommand(const OpenRequest& request, const std::string& cgroup,
                                const ChildEnds& ends) {
  const auto fail = [&](Step step) {
    const ChildReport report{errno, step};
    [[maybe_unused]] const ssize_t sent = write(ends.report, &report, sizeof report);
    _exit(127);
  };
  setsid();
  if (!cgroup.empty()) WriteFile(cgroup + "/cgroup.procs", "0");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  if (ends.terminal && ioctl(ends.in, TIOCSCTTY, 0) != 0) fail(Step::kTerminal);
  dup2(ends.in, 0);
  dup2(ends.out, 1);
  dup2(ends.err, 2);
  if (chdir(request.folder.c_str()) != 0) fail(Step::kFolder);
  std::vector<char*> arguments = Pointers(request.arguments);
  std::vector<char*> environment = Pointers(request.environment);
  environ = environment.data();
  execvp(arguments[0], arguments.data());
  fail(Step::kExecute);
  _exit(127);
}

// Both ends of a new terminal of that size.
bool OpenTerminal(const OpenRequest& request, Pipe& ends) {
  ends.read = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (ends.read < 0 || grantpt(ends.read) != 0 || unlockpt(ends.read) != 0) return false;
  ends.write = ioctl(ends.read, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (ends.write < 0) return false;
  winsize size{};
  size.ws_row = request.rows;
  size.ws_col = request.columns;
  return ioctl(ends.read, TIOCSWINSZ, &size) == 0;
}

}  // namespace

std::optional<OpenRequest> ParseOpen(std::string_view body) {
  OpenRequest request;
  uint8_t terminal = 0;
  uint32_t count = 0;
  if (!Take(body, terminal) || !Take(body, request.rows) || !Take(body, request.columns) ||
      !Take(body, count) || !TakeString(body, request.folder)) {
    return std::nullopt;
  }
  request.terminal = terminal != 0;
  std::string text;
  while (!body.empty()) {
    if (!TakeString(body, text)) return std::nullopt;
    (request.arguments.size() < count ? request.arguments : request.environment).push_back(text);
  }
  if (request.arguments.empty() || request.arguments.size() != count) return std::nullopt;
  return request;
}

void KillCgroup(const std::string& cgroup) {
  WriteFile(cgroup + "/cgroup.kill", "1");
  rmdir(cgroup.c_str());
}

Run::~Run() {
  CloseInput();
  CloseOutput(out_);
  CloseOutput(err_);
  // Stays while something of the run lives in it.
  if (!cgroup_.empty()) rmdir(cgroup_.c_str());
}

std::optional<Failure> Run::Start(const OpenRequest& request) {
  Pipe in, out, err, report;
  const auto close_all = [&] {
    for (Pipe* each : {&in, &out, &err, &report}) each->Close();
  };
  terminal_ = request.terminal;
  const bool opened =
      (terminal_ ? OpenTerminal(request, out) : in.Open() && out.Open() && err.Open()) &&
      report.Open();
  if (!opened) {
    const Failure failure{errno, terminal_ ? "open a terminal" : "open pipes"};
    close_all();
    return failure;
  }
  if (!cgroup_.empty() && mkdir(cgroup_.c_str(), 0755) != 0) cgroup_.clear();
  const ChildEnds ends = terminal_ ? ChildEnds{out.write, out.write, out.write, report.write, true}
                                   : ChildEnds{in.read, out.write, err.write, report.write, false};
  pid_ = fork();
  if (pid_ == 0) BecomeCommand(request, cgroup_, ends);
  if (pid_ < 0) {
    const Failure failure{errno, "fork"};
    close_all();
    return failure;
  }
  close(report.Take(report.write));
  ChildReport told{};
  // Ends at once: the other end closes when the command starts.
  const ssize_t size = read(report.read, &told, sizeof told);
  if (size == static_cast<ssize_t>(sizeof told)) {
    close_all();
    waitpid(pid_, nullptr, 0);
    const char* what =
        told.step == Step::kFolder ? request.folder.c_str() : request.arguments[0].c_str();
    return Failure{told.error, told.step == Step::kTerminal ? "take the terminal" : what};
  }
  out_ = out.Take(out.read);
  in_ = terminal_ ? out_ : in.Take(in.write);
  err_ = err.Take(err.read);
  for (const int each : {in_, out_, err_}) {
    if (each >= 0) SetNonBlocking(each);
  }
  output_credit_ = kWindow;
  close_all();
  return std::nullopt;
}

void Run::QueueInput(std::string_view bytes) {
  if (in_ < 0) return;
  if (!bytes.empty()) {
    input_ += bytes;
  } else if (terminal_) {
    input_ += kEndOfFile;
  } else {
    input_ends_ = true;
  }
}

uint32_t Run::PushInput() {
  if (in_ < 0) return 0;
  uint32_t taken = 0;
  while (input_sent_ < input_.size()) {
    const ssize_t size = write(in_, input_.data() + input_sent_, input_.size() - input_sent_);
    if (size < 0) {
      // Nobody reads it any more: no credit for the rest, so the client leaves the caller's input
      // alone.
      if (errno != EAGAIN && errno != EINTR) CloseInput();
      break;
    }
    input_sent_ += static_cast<size_t>(size);
    taken += static_cast<uint32_t>(size);
  }
  if (input_sent_ == input_.size()) {
    input_.clear();
    input_sent_ = 0;
    if (input_ends_) CloseInput();
  }
  return taken;
}

std::string Run::ReadOutput(int descriptor) {
  int& from = descriptor == 1 ? out_ : err_;
  std::string bytes;
  if (from < 0 || output_credit_ == 0) return bytes;
  bytes.resize(std::min<size_t>(output_credit_, kLargestBody));
  ssize_t size;
  do {
    size = read(from, bytes.data(), bytes.size());
  } while (size < 0 && errno == EINTR);
  bytes.resize(size > 0 ? static_cast<size_t>(size) : 0);
  output_credit_ -= static_cast<uint32_t>(bytes.size());
  // A terminal without programs says EIO. An ended command's background processes may hold a stream
  // open: what is there now is all that was written before the end.
  if (size == 0 || (size < 0 && (errno != EAGAIN || status_))) CloseOutput(from);
  return bytes;
}

void Run::Signal(int signal) const {
  pid_t group = 0;
  if (terminal_ && in_ >= 0 && ioctl(in_, TIOCGPGRP, &group) == 0 && group > 1) {
    kill(-group, signal);
  } else if (!status_) {
    kill(-pid_, signal);
  }
}

void Run::Resize(uint16_t rows, uint16_t columns) const {
  winsize size{};
  size.ws_row = rows;
  size.ws_col = columns;
  if (terminal_ && in_ >= 0) ioctl(in_, TIOCSWINSZ, &size);
}

void Run::CloseInput() {
  if (in_ >= 0 && in_ != out_) close(in_);
  in_ = -1;
  input_.clear();
  input_sent_ = 0;
}

void Run::CloseOutput(int& descriptor) {
  if (descriptor >= 0) {
    if (descriptor == in_) in_ = -1;
    close(descriptor);
  }
  descriptor = -1;
}

}  // namespace lab
