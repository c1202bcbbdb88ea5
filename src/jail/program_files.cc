// SPDX-License-Identifier: Apache-2.0
// The closure of a program's shared libraries on this host.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/text.h"
#include "jail/elf_needs.h"
#include "sys/file.h"
#include "sys/mapping.h"

namespace msb::jail {
namespace {

constexpr const char* kLoaderCache = "/etc/ld.so.cache";
constexpr size_t kMaxFiles = 400;
constexpr size_t kMaxCache = 16 << 20;
constexpr const char* kDefaultDirectories[] = {
#if defined(__x86_64__)
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
#elif defined(__aarch64__)
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
#endif
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib"};

class Closure {
 public:
  Result<void> LoadCache() {
    auto text = TRY(sys::FindFileAt(sys::Cwd(), kLoaderCache, kMaxCache));
    if (!text) return {};
    cache_ = *std::move(text);
    libraries_ = TRY(ParseLoaderCache(AsBytes(cache_)));
    return {};
  }

  Result<void> Add(const std::string& path) {
    UniqueFd file = TRY(sys::OpenAt(sys::Cwd(), path, O_RDONLY));
    auto info = TRY(sys::Stat(file));
    if (info.st_size == 0) return Error(Code::kInvalidArgument, Cat(path, " is empty"));
    auto mapping =
        TRY(sys::MapFile(file, static_cast<size_t>(info.st_size), 0, PROT_READ, MAP_PRIVATE));
    auto needs = TRY(ParseElfNeeds(mapping.bytes()).Context(path));
    if (!needs.interpreter.empty() && !Known(needs.interpreter)) {
      TRY(Bind(needs.interpreter, /*executable=*/true));
      if (!cache_.empty()) TRY(Bind(kLoaderCache, /*executable=*/false));
    }
    for (const std::string& name : needs.needed) {
      auto found = Find(name, needs.runpath);
      if (!found) return Error(Code::kNotFound, Cat(path, " needs ", name, ", which is missing"));
      if (Known(*found)) continue;
      TRY(Bind(*found, /*executable=*/false));
      TRY(Add(*found));
    }
    return {};
  }

  Result<void> Bind(const std::string& path, bool executable) {
    if (binds_.size() == kMaxFiles)
      return Error(Code::kResourceExhausted, "a program of too many libraries");
    binds_.push_back({.source = path, .executable = executable});
    return {};
  }

  std::vector<JailBind> Take() && { return std::move(binds_); }

 private:
  bool Known(const std::string& path) const {
    return std::any_of(binds_.begin(), binds_.end(),
                       [&](const JailBind& bind) { return bind.source == path; });
  }

  // The loader's order: the file's own directories, the cache, the directories built in.
  std::optional<std::string> Find(const std::string& name,
                                  const std::vector<std::string>& runpath) const {
    if (name.starts_with('/')) return name;
    auto in = [&](const std::string& directory) -> std::optional<std::string> {
      std::string path = Cat(directory, "/", name);
      if (::access(path.c_str(), R_OK) == 0) return path;
      return std::nullopt;
    };
    for (const std::string& directory : runpath)
      if (auto path = in(directory)) return path;
    for (const CachedLibrary& library : libraries_)
      if (library.name == name) return std::string(library.path);
    for (const char* directory : kDefaultDirectories)
      if (auto path = in(directory)) return path;
    return std::nullopt;
  }

  std::string cache_;
  std::vector<CachedLibrary> libraries_;
  std::vector<JailBind> binds_;
};

// "qemu-system-x86_64" loads "accel-tcg-x86_64.so" from its modules' directory, where the
// distribution builds it as a module.
std::optional<std::string> QemuTranslator(const std::string& program) {
  constexpr std::string_view kPrefix = "qemu-system-";
  std::string name = program.substr(program.rfind('/') + 1);
  if (!name.starts_with(kPrefix)) return std::nullopt;
  for (const char* directory : kDefaultDirectories) {
    std::string path =
        Cat(directory, "/qemu/accel-tcg-", std::string_view(name).substr(kPrefix.size()), ".so");
    if (::access(path.c_str(), R_OK) == 0) return path;
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<JailBind>> FilesOfProgram(const std::string& program,
                                             const std::vector<std::string>& plugins) {
  Closure closure;
  TRY(closure.LoadCache());
  TRY(closure.Add(program));
  std::vector<std::string> all = plugins;
  if (auto translator = QemuTranslator(program)) all.push_back(*std::move(translator));
  for (const std::string& plugin : all) {
    TRY(closure.Bind(plugin, /*executable=*/false));
    TRY(closure.Add(plugin));
  }
  return std::move(closure).Take();
}

}  // namespace msb::jail
