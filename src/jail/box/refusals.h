// SPDX-License-Identifier: Apache-2.0
// Which kinds of system calls a policy refused, and how often: what hostile code makes of it stays
// bounded.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "jail/box/call_arguments.h"

namespace msb::box {

struct Refusal {
  CallKind kind;
  int error;       // What the policy answers.
  bool continued;  // It was carried out all the same: the run learns.
  uint64_t count = 0;
  std::string_view why = {};  // It was not, though the run learns.
};

class RefusalTable {
 public:
  static constexpr size_t kMaxKinds = 256;

  // Counts it. True when it is the first of its kind and there is room for it.
  bool Note(const CallKind& kind, int error, bool continued = false, std::string_view why = {});

  std::span<const Refusal> kinds() const { return kinds_; }  // In the order of their first call.
  uint64_t others() const { return others_; }  // Calls of kinds for which there was no room.

 private:
  std::vector<Refusal> kinds_;
  uint64_t others_ = 0;
};

// "socket family=AF_ALG"
std::string KindText(const CallKind& kind);
// "EPERM"
std::string ErrorName(int error);

}  // namespace msb::box
