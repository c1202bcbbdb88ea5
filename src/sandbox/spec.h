// SPDX-License-Identifier: Apache-2.0
// What a user asked for: plain data that flags, the Sandboxfile and the API are turned into.
// Nothing below this knows flags.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "protocol/messages.h"

namespace msb::sandbox {

// The wall between the program and the host (architecture, section 2), strongest first.
enum class Isolation : uint8_t { kVm, kVmEmulated, kProcess };
std::string_view Name(Isolation isolation);  // "vm", "vm-emulated", "process"
Result<Isolation> ParseIsolation(std::string_view text);

// Attached: the end of the connection that started it stops the sandbox, and its record goes.
// Detached: it outlives its starter, and its record stays until removed.
enum class Lifetime : uint8_t { kAttached, kDetached };

struct SandboxSpec {
  std::string name;          // Empty: known by its id only.
  std::string command;       // For people: what an attached sandbox's client is about to run.
  std::string image;         // Reference as the user wrote it; empty with a one-off root.
  std::string image_digest;  // Manifest digest the reference stood for; empty with a one-off root.
  Lifetime lifetime = Lifetime::kAttached;
  Isolation isolation = Isolation::kVmEmulated;  // As chosen: see ChooseIsolation().
  bool require_limits = false;                   // Refuse when a cgroup limit cannot be set.
  // Absolute path of a delegated cgroup that was given; empty: find one.
  std::string cgroup;

  uint32_t cpus = 1;
  uint64_t memory_bytes = kGiB;
  uint64_t storage_bytes = 512 * kMiB;
  std::string hostname;                              // Empty: the name, else the id.
  std::optional<std::chrono::milliseconds> timeout;  // Of the whole sandbox, from its start.
  bool debug_console = false;                        // Guest console to stderr.

  // Detached: the command whose end is the sandbox's end; none: it stays until stopped.
  // Attached: none; the client opens its exec on the connection itself.
  std::optional<protocol::ExecSpec> main;
};

// Limits that hold whatever the host: cpus 1 to 32, memory 64 MiB to 1 TiB, storage 16 MiB to
// 1 TiB, the grammar of names. Errors name the option ("--memory 1M: ...") and the remedy.
Result<void> CheckSpec(const SandboxSpec& spec);

// As its programs see it: what was asked for, else its name, else its id.
std::string HostnameOf(const SandboxSpec& spec, const std::string& id);

std::string ToJson(const SandboxSpec& spec);
Result<SandboxSpec> ParseSpec(std::string_view json);

}  // namespace msb::sandbox
