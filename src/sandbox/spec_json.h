// SPDX-License-Identifier: Apache-2.0
// The spec's types as JSON, for the record and for the hand-over to the supervisor.

#pragma once

#include <chrono>

#include "json/codec.h"
#include "sandbox/spec.h"

template <>
struct msb::json::EnumNames<msb::sandbox::Isolation> {
  static constexpr std::pair<std::string_view, msb::sandbox::Isolation> kNames[] = {
      {"vm", msb::sandbox::Isolation::kVm},
      {"vm-emulated", msb::sandbox::Isolation::kVmEmulated},
      {"process", msb::sandbox::Isolation::kProcess},
  };
};

template <>
struct msb::json::EnumNames<msb::sandbox::Lifetime> {
  static constexpr std::pair<std::string_view, msb::sandbox::Lifetime> kNames[] = {
      {"attached", msb::sandbox::Lifetime::kAttached},
      {"detached", msb::sandbox::Lifetime::kDetached},
  };
};

template <>
struct msb::json::Codec<std::chrono::milliseconds> {
  static Result<void> Read(const Value& value, std::chrono::milliseconds& into) {
    into = std::chrono::milliseconds(TRY(value.Integer()));
    return {};
  }
  static void Write(std::chrono::milliseconds from, JsonWriter& out) { out.Number(from.count()); }
};

// Arguments need not be UTF-8 and JSON strings must be: then the exact bytes stand in "bytes".
template <>
struct msb::json::Codec<msb::protocol::ExecSpec> {
  static Result<void> Read(const Value& value, msb::protocol::ExecSpec& into);
  static void Write(const msb::protocol::ExecSpec& from, JsonWriter& out);
};

template <>
struct msb::json::Fields<msb::sandbox::SandboxSpec> {
  using Spec = msb::sandbox::SandboxSpec;
  static constexpr auto kTable = std::array{
      Required<&Spec::name>("name"),
      Required<&Spec::command>("command"),
      Required<&Spec::image>("image"),
      Required<&Spec::image_digest>("image_digest"),
      Required<&Spec::lifetime>("lifetime"),
      Required<&Spec::isolation>("isolation"),
      Required<&Spec::require_limits>("require_limits"),
      Required<&Spec::cgroup>("cgroup"),
      Required<&Spec::cpus>("cpus"),
      Required<&Spec::memory_bytes>("memory_bytes"),
      Required<&Spec::storage_bytes>("storage_bytes"),
      Required<&Spec::hostname>("hostname"),
      Optional<&Spec::timeout>("timeout_ms"),
      Required<&Spec::debug_console>("debug_console"),
      Optional<&Spec::main>("main"),
  };
};
