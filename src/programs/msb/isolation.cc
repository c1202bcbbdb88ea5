// SPDX-License-Identifier: Apache-2.0
// The command line wins over the environment.

#include "programs/msb/isolation.h"

#include "base/text.h"

namespace msb::cli {

Result<std::optional<sandbox::Isolation>> IsolationOfEnvironment(const GetEnv& get_env) {
  auto said = get_env(kIsolationVariable);
  if (!said || said->empty()) return std::optional<sandbox::Isolation>();
  return std::optional(TRY(sandbox::ParseIsolation(*said).Context(kIsolationVariable)));
}

Result<sandbox::Choice> ChooseIsolation(BorrowedFd cache_dir,
                                        std::optional<sandbox::Isolation> flag,
                                        std::optional<sandbox::Isolation> required,
                                        const GetEnv& get_env) {
  if (flag) return sandbox::ChooseIsolation(cache_dir, flag, required);
  auto level = TRY(IsolationOfEnvironment(get_env));
  if (!level) return sandbox::ChooseIsolation(cache_dir, flag, required);
  std::string by = Cat(kIsolationVariable, "=", sandbox::Name(*level));
  auto choice = TRY(sandbox::ChooseIsolation(cache_dir, level, required).Context(by));
  if (choice.isolation == sandbox::Isolation::kVm) return choice;
  choice.note = choice.note.empty()
                    ? Cat("isolation ", sandbox::Name(*level), ": asked for by ", by)
                    : Cat(choice.note, " (asked for by ", by, ")");
  return choice;
}

}  // namespace msb::cli
