// SPDX-License-Identifier: Apache-2.0
// One command running in the lab: its process, its streams, what is under way of both.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lab {

// Body of kOpen: u8 terminal, u16 rows, u16 columns, u32 number of arguments, then strings that end
// with NUL: working folder, the arguments, the environment (NAME=VALUE).
struct OpenRequest {
  bool terminal = false;
  uint16_t rows = 0;
  uint16_t columns = 0;
  std::string folder;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
};
std::optional<OpenRequest> ParseOpen(std::string_view body);

struct Failure {
  int error = 0;
  std::string what;
};

// Kills what lives in a run's cgroup, its background processes too, whether the run itself lives or
// not.
void KillCgroup(const std::string& cgroup);

// Starts in Start() and ends when its process has ended and its output is sent. Background
// processes of it may live on. Owned by one thread.
class Run {
 public:
  Run(uint32_t channel, std::string cgroup) : channel_(channel), cgroup_(std::move(cgroup)) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run();

  // Empty when the command runs.
  std::optional<Failure> Start(const OpenRequest& request);

  uint32_t channel() const { return channel_; }
  pid_t pid() const { return pid_; }
  // Descriptors to wait for; -1: not now.
  int WantsInput() const { return input_.size() > input_sent_ ? in_ : -1; }
  int out() const { return output_credit_ > 0 ? out_ : -1; }
  int err() const { return output_credit_ > 0 ? err_ : -1; }

  void QueueInput(std::string_view bytes);  // empty: end of file
  uint32_t PushInput();                     // what the program took: credit to give back
  void GiveOutputCredit(uint32_t bytes) { output_credit_ += bytes; }
  // Reads at most what credit and `out` allow; nothing when nothing is there. `descriptor` is 1
  // or 2.
  std::string ReadOutput(int descriptor);

  void Signal(int signal) const;
  void Resize(uint16_t rows, uint16_t columns) const;

  void Ended(int status) { status_ = status; }
  std::optional<int> status() const { return status_; }
  // Everything that was written before the end has been read.
  bool drained() const { return out_ < 0 && err_ < 0; }

 private:
  void CloseInput();
  void CloseOutput(int& descriptor);

  uint32_t channel_;
  std::string cgroup_;  // its folder; empty: none could be had
  pid_t pid_ = -1;
  bool terminal_ = false;
  int in_ = -1;  // with a terminal all of it is one descriptor: in_ and out_ are equal
  int out_ = -1;
  int err_ = -1;
  uint32_t output_credit_ = 0;
  std::string input_;
  size_t input_sent_ = 0;
  bool input_ends_ = false;
  std::optional<int> status_;
};

}  // namespace lab
