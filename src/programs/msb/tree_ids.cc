// SPDX-License-Identifier: Apache-2.0
#include "programs/msb/tree_ids.h"

#include <unistd.h>

#include "base/text.h"
#include "jail/user_namespace.h"

namespace msb::cli {
namespace {

// A tree's ids may be the user's no more: then root alone can remove it.
Result<uint64_t> WorkInside(const store::TreeIds& ids,
                            const std::function<Result<uint64_t>()>& work) {
  if (::geteuid() == 0) return work();
  auto enter = [&]() -> Result<UniqueFd> {
    auto shared = TRY(jail::ShareSubordinateIds({ids.first_uid, ids.first_gid, ids.count}));
    return jail::MakeUserNamespace(shared);
  };
  auto range = [&](uint32_t first) { return Cat(first, "-", first + ids.count - 1); };
  UniqueFd users = TRY(
      enter()
          .Context(Cat("its files have the subordinate ids ", range(ids.first_uid)))
          .Remedy(Cat("as root: usermod --add-subuids ", range(ids.first_uid), " --add-subgids ",
                      range(ids.first_gid), " for this user, or remove the directory")));
  return jail::RunInUserNamespace(users, work);
}

}  // namespace

ProcessIds FindProcessIds() {
  ProcessIds found;
  if (::geteuid() == 0) return found;
  auto ids = jail::FindSharedIds();
  if (ids)
    found.ids = *std::move(ids);
  else
    found.one_id_because = ids.error().message();
  return found;
}

UniqueFd EnterIds(ProcessIds& ids) {
  if (!ids.ids) return {};
  auto users = jail::MakeUserNamespace(*ids.ids);
  if (users) return *std::move(users);
  ids = {std::nullopt, users.error().message()};
  return {};
}

ProcessIds TryProcessIds() {
  ProcessIds found = FindProcessIds();
  (void)EnterIds(found);
  return found;
}

Result<store::Store> OpenStore(const sandbox::Home& home) {
  return store::Store::Open(home.dir(), WorkInside);
}

}  // namespace msb::cli
