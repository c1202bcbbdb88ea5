// SPDX-License-Identifier: Apache-2.0
// Where a sandbox's root comes from: an image of the store, or a tree of the user's.

#pragma once

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "image/store/image_config.h"
#include "image/store/store.h"
#include "sandbox/sandboxes.h"

namespace msb::cli {

struct Root {
  sandbox::RootSource source;
  std::string image;   // As shown to people.
  std::string digest;  // Of the manifest; empty for a tree.
  store::ImageConfig config;
  // A tree that was made for this run alone: goes with this value. A start that outlives us leaves
  // it (Leave()).
  std::optional<store::StagedTree> own_tree = std::nullopt;
};

// kNotFound with a remedy and a suggestion. For a process sandbox the image's root tree, which is
// made by msb-image when it is not there.
Result<Root> FindRoot(const sandbox::Home& home, const std::string& image,
                      sandbox::Isolation isolation);

// Has msb-image write the directory or tar into a file without a name. A process sandbox uses the
// directory where it lies, and never writes to it; of a tar msb-image makes it a tree of its own.
Result<Root> MakeRoot(const sandbox::Home& home, const std::string& source,
                      sandbox::Isolation isolation);

// The trees that ended runs have left, with sandbox::Reconcile(); what cannot be removed is left
// for gc.
void RemoveDeadTrees(const sandbox::Home& home);

// msb-image: beside this program, else ../lib/microsandbox from it.
Result<std::string> FindImageProgram();

}  // namespace msb::cli
