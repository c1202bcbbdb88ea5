// SPDX-License-Identifier: Apache-2.0
// One table says what there is; the rest is looking things up in it.

#include "programs/msb_vmm/arguments.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace msb::vmm {
namespace {

struct DescriptorOption {
  std::string_view name;
  int Arguments::*where;
};
constexpr DescriptorOption kDescriptors[] = {
    {"--kvm", &Arguments::kvm},
    {"--kernel", &Arguments::kernel},
    {"--initramfs", &Arguments::initramfs},
    {"--root", &Arguments::root},
    {"--upper", &Arguments::upper},
    {"--agent", &Arguments::agent},
    {"--console", &Arguments::console},
    {"--control", &Arguments::control},
};
// 0 to 2 are everybody's.
constexpr int kFirstDescriptor = 3;

Error Bad(std::string_view option, std::string_view why) {
  return Error(Code::kInvalidArgument, Cat(option, " ", why))
      .Remedy("msb-vmm is started by msb-supervisor, not by hand");
}

template <class T>
Result<T> Number(std::string_view option, std::string_view text) {
  auto number = ParseNumber<T>(text);
  if (!number) return Bad(option, Cat("takes a number, not ", Escape(text, 64)));
  return *number;
}

Result<void> TakeDescriptor(const DescriptorOption& option, std::string_view text,
                            Arguments& arguments) {
  int fd = TRY(Number<int>(option.name, text));
  if (fd < kFirstDescriptor) return Bad(option.name, "takes a descriptor above 2");
  if (arguments.*option.where != -1) return Bad(option.name, "is given twice");
  for (const DescriptorOption& other : kDescriptors)
    if (arguments.*other.where == fd) return Bad(option.name, Cat("is also ", other.name));
  arguments.*option.where = fd;
  return {};
}

Result<void> Take(std::string_view name, std::string_view value, Arguments& arguments) {
  if (name == "--cpus") {
    arguments.spec.cpus = TRY(Number<uint32_t>(name, value));
    return {};
  }
  if (name == "--memory") {
    arguments.spec.memory_bytes = TRY(Number<uint64_t>(name, value));
    return {};
  }
  for (const DescriptorOption& option : kDescriptors)
    if (option.name == name) return TakeDescriptor(option, value, arguments);
  return Bad(Escape(name, 64), "is not an option");
}

}  // namespace

Result<Arguments> ParseArguments(std::span<const std::string_view> words) {
  Arguments arguments;
  for (; !words.empty(); words = words.subspan(1)) {
    std::string_view name = words.front();
    if (name == "--verbose-console") {
      arguments.spec.console = Console::kVerbose;
      continue;
    }
    if (words.size() < 2) return Bad(Escape(name, 64), "wants a value");
    words = words.subspan(1);
    TRY(Take(name, words.front(), arguments));
  }
  for (const DescriptorOption& option : kDescriptors)
    if (arguments.*option.where == -1) return Bad(option.name, "is missing");
  if (arguments.spec.memory_bytes == 0) return Bad("--memory", "is missing");
  return arguments;
}

}  // namespace msb::vmm
