// SPDX-License-Identifier: Apache-2.0
// setrlimit(2)'s names.

#include "programs/microbox/rlimits.h"

#include <vector>

#include "base/text.h"

namespace msb::microbox {
namespace {

constexpr struct {
  std::string_view name;
  int resource;
} kNames[] = {
    {"as", RLIMIT_AS},           {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},       {"locks", RLIMIT_LOCKS},
    {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},   {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},
    {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK}};

constexpr std::string_view kRemedy =
    "as in nofile=1024 or nofile=1024:4096 or core=unlimited; names: man 2 setrlimit";

Error Bad(std::string_view message) {
  return Error(Code::kInvalidArgument, std::string(message)).Remedy(kRemedy);
}

Result<rlim_t> Value(std::string_view text) {
  if (text == "unlimited") return RLIM_INFINITY;
  auto value = ParseNumber<rlim_t>(text);
  if (!value) return Bad(Cat(Escape(text, 64), " is no number"));
  return *value;
}

}  // namespace

Result<box::ResourceLimit> ParseResourceLimit(std::string_view text) {
  size_t equals = text.find('=');
  if (equals == std::string_view::npos)
    return Bad(Cat(Escape(text, 64), " is not NAME=SOFT[:HARD]"));
  std::string_view name = text.substr(0, equals), values = text.substr(equals + 1);
  for (const auto& known : kNames) {
    if (known.name != name) continue;
    size_t colon = values.find(':');
    rlim_t soft = TRY(Value(values.substr(0, colon)));
    rlim_t hard = colon == std::string_view::npos ? soft : TRY(Value(values.substr(colon + 1)));
    if (soft > hard) return Bad("the soft limit is above the hard one");
    return box::ResourceLimit{known.resource, {soft, hard}};
  }
  std::vector<std::string> names;
  for (const auto& known : kNames) names.emplace_back(known.name);
  return Error(Code::kInvalidArgument, Cat("no such limit: ", Escape(name, 64)))
      .Remedy(DidYouMean(name, names, kRemedy));
}

}  // namespace msb::microbox
