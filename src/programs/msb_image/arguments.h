// SPDX-License-Identifier: Apache-2.0
// The command line of msb-image as options structs. A parser of its own, of a few dozen lines:
// the program has three verbs and is mostly started by msb.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>

#include "base/result.h"
#include "image/store/image_config.h"

namespace msb::image_program {

// msb-image import [options] NAME SOURCE
struct ImportOptions {
  std::string name;
  std::string source;  // A directory, a tar, or "-" for a tar on stdin.
  std::optional<std::string> home;
  store::ImageConfig config;  // What the options said; architecture and os are always set.
  bool json = false;
  bool quiet = false;
};

// msb-image unpack --output-fd N [options] SOURCE
struct UnpackOptions {
  std::string source;  // Empty when source_fd is given.
  int source_fd = -1;
  int output_fd = -1;
  bool quiet = false;
};

// msb-image unpack-tree --disk-fd N --tree-fd N
struct UnpackTreeOptions {
  int disk_fd = -1;
  int tree_fd = -1;
};

struct ShowText {
  std::string text;  // For --help and --version.
};

using Command = std::variant<ImportOptions, UnpackOptions, UnpackTreeOptions, ShowText>;

// `arguments` without the program's name.
Result<Command> ParseArguments(std::span<const std::string> arguments);

}  // namespace msb::image_program
