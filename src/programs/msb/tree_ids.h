// SPDX-License-Identifier: Apache-2.0
// The ids of an ordinary user's root trees: those that all of his sandboxes share, so that one tree
// serves them all. As root there are none: a tree's owners are mapped when it is mounted.

#pragma once

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "image/store/store.h"
#include "jail/subordinate_ids.h"
#include "sandbox/sandboxes.h"

namespace msb::cli {

// An ordinary user's, or why he has one id: the record and msb doctor say it. Both empty for root.
struct ProcessIds {
  std::optional<jail::SubordinateIds> ids;
  std::string one_id_because;

  store::TreeIds tree() const {
    if (!ids) return {};
    return {ids->span.first_uid, ids->span.first_gid, ids->span.count};
  }
};
// By what the files say; whether the programs may map them shows when they do.
ProcessIds FindProcessIds();
// Where files of these ids can be made; where there is no such place, there are no such ids from
// here on. None of one id.
UniqueFd EnterIds(ProcessIds& ids);
// What a run would have: they were entered.
ProcessIds TryProcessIds();

// The store of the home, able to remove such trees.
Result<store::Store> OpenStore(const sandbox::Home& home);

}  // namespace msb::cli
