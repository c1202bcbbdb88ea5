// SPDX-License-Identifier: Apache-2.0
// Looks an image up; starts msb-image for a one-off root disk, or for an image's first root tree.

#include "programs/msb/root.h"

#include <fcntl.h>

#include <cerrno>

#include "base/log.h"
#include "base/text.h"
#include "image/store/store.h"
#include "json/value.h"
#include "programs/msb/tree_ids.h"
#include "programs/msb/ui.h"
#include "sys/file.h"
#include "sys/process.h"

namespace msb::cli {

namespace {

Error NoSuchImage(const store::Store& store, const std::string& typed,
                  const store::Reference& reference) {
  Error error(Code::kNotFound, Cat("image ", reference.Familiar(), " is not here"));
  std::vector<std::string> names;
  if (auto list = store.List())
    for (const store::Image& image : list->images) names.push_back(image.reference.Familiar());
  if (auto near = Suggest(typed, names))
    return std::move(error).Remedy(Cat("did you mean ", *near, "?"));
  return std::move(error).Remedy(Cat("make it: msb image import ", reference.Familiar(),
                                     " DIR|TAR; msb image list shows what is here"));
}

// What the unpacker reports on its stdout is little; it read a stranger's archive.
constexpr size_t kMaxReport = 64 * 1024;

// The unpacker's error, {"error":{"message":…,"remedy":…}}, as ours. `what` was to be unpacked.
Error RefusalOf(const std::string& what, const std::string& report) {
  auto field = [&](const char* name) -> Result<std::string> {
    auto document = TRY(json::Document::Parse(report, {.max_bytes = kMaxReport}));
    return TRY(TRY(document.root().Field("error")).Field(name)).String();
  };
  auto message = field("message");
  auto remedy = field("remedy");
  return Error(Code::kInvalidArgument,
               Cat(what, ": ", message.ok() ? Escape(*message, 1000) : "it could not be unpacked"))
      .Remedy(remedy.ok() && !remedy->empty() ? Escape(*remedy, 1000)
                                              : "give a directory, or a tar that tar -t can list");
}

// Runs msb-image with these words and descriptors, and without a terminal; in this user namespace,
// where there is one.
Result<void> RunUnpacker(const std::string& what, std::vector<std::string> words,
                         std::vector<sys::SpawnOptions::PassedFd> fds,
                         const UniqueFd& users = UniqueFd()) {
  std::string program = TRY(FindImageProgram());
  words.insert(words.begin(), program);
  auto null = TRY(sys::OpenAt(sys::Cwd(), "/dev/null", O_RDWR));
  auto report = TRY(sys::MakePipe());
  fds.insert(fds.end(), {{null.get(), 0}, {report.write.get(), 1}});
  auto child = TRY(sys::Spawn({.argv = std::move(words),
                               .env = sys::CurrentEnvironment(),
                               .fds = std::move(fds),
                               .die_with_parent = true,
                               .user_namespace = users.get()}));
  report.write.Reset();
  std::string said = TRY(sys::ReadAll(report.read, kMaxReport));
  auto status = TRY(child.Wait(Deadline::Never()));
  if (status.signaled)
    return Error(Code::kUnavailable, Cat(what, ": msb-image was killed by signal ", status.code));
  if (status.code != 0) return RefusalOf(what, said);
  return {};
}

Result<void> UnpackTree(const std::string& what, BorrowedFd disk, BorrowedFd tree,
                        const UniqueFd& users) {
  return RunUnpacker(what, {"unpack-tree", "--disk-fd", "3", "--tree-fd", "4"},
                     {{disk.get(), 3}, {tree.get(), 4}}, users);
}

Result<store::OpenedTree> OpenOrMakeTree(store::Store& store, const store::OpenedImage& opened,
                                         ProcessIds& ids) {
  if (auto tree = TRY(store.OpenTree(opened.image, ids.tree()))) return *std::move(tree);
  bool several = ids.ids.has_value();
  UniqueFd users = EnterIds(ids);
  if (several && !ids.ids)
    if (auto tree = TRY(store.OpenTree(opened.image))) return *std::move(tree);
  store::StagedTree staged = TRY(store.StageTree(opened.image, ids.tree()));
  TRY(UnpackTree(Cat("image ", opened.image.reference.Familiar()), opened.disk, staged.root(),
                 users));
  return std::move(staged).Commit();
}

// What the sandbox is to have of them.
sandbox::RootSource SourceOf(store::OpenedTree tree, const ProcessIds& ids) {
  sandbox::RootSource source{std::move(tree.root), std::move(tree.lock)};
  if (ids.ids) source.ids = ids.ids->span;
  source.one_id_because = ids.one_id_because;
  return source;
}

// A root disk in a file without a name.
Result<UniqueFd> UnpackDisk(const sandbox::Home& home, const std::string& source) {
  auto disk = TRY(sys::UnnamedFile(home.dir()));
  TRY(RunUnpacker(Cat("--rootfs ", Escape(source, 200)),
                  {"unpack", "--output-fd", "3", "--quiet", "--", source}, {{disk.get(), 3}}));
  return disk;
}

// Of a tar: as an image's, by way of a root disk, which goes at once.
Result<Root> MakeOwnTree(const sandbox::Home& home, const std::string& source) {
  UniqueFd disk = TRY(UnpackDisk(home, source));
  auto store = TRY(OpenStore(home));
  ProcessIds ids = FindProcessIds();
  UniqueFd users = EnterIds(ids);
  Root root{{}, source, "", {}};
  root.own_tree.emplace(TRY(store.StageTree(ids.tree())));
  TRY(UnpackTree(Cat("--rootfs ", Escape(source, 200)), disk, root.own_tree->root(), users));
  root.source = SourceOf(TRY(root.own_tree->Share()), ids);
  return root;
}

// The directory itself; of anything else a tree of its own.
Result<Root> OpenTree(const sandbox::Home& home, const std::string& source) {
  auto opened = sys::OpenAt(sys::Cwd(), source, O_RDONLY | O_DIRECTORY);
  if (!opened && opened.error().sys_errno() == ENOTDIR) return MakeOwnTree(home, source);
  Root root{{}, source, "", {}};
  root.source.root = TRY(std::move(opened).Context(Cat("--rootfs ", Escape(source, 200))));
  root.source.any_ids = true;
  return root;
}

}  // namespace

void RemoveDeadTrees(const sandbox::Home& home) {
  auto store = OpenStore(home);
  auto removed = store ? store->RemoveDeadTrees() : Result<void>();
  if (!removed) LOG(kInfo, "left for msb gc", {"why", removed.error().message()});
}

Result<Root> FindRoot(const sandbox::Home& home, const std::string& image,
                      sandbox::Isolation isolation) {
  auto resolution = TRY(store::Resolve(image));
  auto store = TRY(OpenStore(home));
  auto opened = TRY(store.OpenImage(resolution.reference));
  if (!opened) return NoSuchImage(store, image, resolution.reference);
  Root root{
      {}, resolution.reference.Familiar(), opened->image.manifest.ToString(), opened->image.config};
  if (isolation != sandbox::Isolation::kProcess) {
    root.source.root = std::move(opened->disk);
    return root;
  }
  ProcessIds ids = FindProcessIds();
  root.source = SourceOf(TRY(OpenOrMakeTree(store, *opened, ids)), ids);
  return root;
}

Result<std::string> FindImageProgram() {
  std::string self = TRY(sys::ReadLinkAt(sys::Cwd(), "/proc/self/exe"));
  std::string directory = self.substr(0, self.rfind('/'));
  std::string beside = directory + "/msb-image";
  std::string library = directory + "/../lib/microsandbox/msb-image";
  for (const std::string& path : {beside, library}) {
    if (TRY(sys::FindAt(sys::Cwd(), path))) return path;
  }
  return Error(Code::kNotFound, Cat("msb-image is neither ", beside, " nor ", library))
      .Remedy("install microsandbox completely: tools/install");
}

Result<Root> MakeRoot(const sandbox::Home& home, const std::string& source,
                      sandbox::Isolation isolation) {
  if (isolation == sandbox::Isolation::kProcess) return OpenTree(home, source);
  UniqueFd disk = TRY(UnpackDisk(home, source));
  // The supervisor gets what cannot be written.
  auto read_only = TRY(sys::OpenAt(sys::Cwd(), Cat("/proc/self/fd/", disk.get()), O_RDONLY));
  return Root{{std::move(read_only), {}}, source, "", {}};
}

}  // namespace msb::cli
