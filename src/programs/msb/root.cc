// SPDX-License-Identifier: Apache-2.0
// Looks an image up, or starts msb-image for a one-off root disk.

#include "programs/msb/root.h"

#include <fcntl.h>

#include "base/text.h"
#include "image/store/store.h"
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

}  // namespace

Result<Root> FindRoot(const sandbox::Home& home, const std::string& image) {
  auto resolution = TRY(store::Resolve(image));
  auto store = TRY(store::Store::Open(home.dir()));
  auto opened = TRY(store.OpenImage(resolution.reference));
  if (!opened) return NoSuchImage(store, image, resolution.reference);
  return Root{std::move(opened->disk), resolution.reference.Familiar(),
              opened->image.manifest.ToString(), std::move(opened->image.config)};
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

Result<Root> MakeRoot(const sandbox::Home& home, const std::string& source, bool quiet) {
  std::string program = TRY(FindImageProgram());
  auto disk = TRY(sys::UnnamedFile(home.dir()));
  auto null = TRY(sys::OpenAt(sys::Cwd(), "/dev/null", O_RDWR));
  sys::SpawnOptions spawn{
      .argv = {program, "unpack", "--output-fd", "3"},
      .env = sys::CurrentEnvironment(),
      .fds = {{null.get(), 0}, {null.get(), 1}, {disk.get(), 3}},
      .die_with_parent = true,
  };
  if (quiet) spawn.argv.push_back("--quiet");
  spawn.argv.push_back("--");
  spawn.argv.push_back(source);
  auto child = TRY(sys::Spawn(spawn));
  auto status = TRY(child.Wait(Deadline::Never()));
  if (status.signaled)
    return Error(Code::kUnavailable, Cat("--rootfs ", Escape(source, 200),
                                         ": msb-image was killed by signal ", status.code));
  if (status.code != 0)
    return Error(Code::kInvalidArgument,
                 Cat("--rootfs ", Escape(source, 200), ": no root disk could be made of it"))
        .Remedy("see the message of msb-image above");
  // The supervisor gets what cannot be written.
  auto read_only = TRY(sys::OpenAt(sys::Cwd(), Cat("/proc/self/fd/", disk.get()), O_RDONLY));
  return Root{std::move(read_only), source, "", {}};
}

}  // namespace msb::cli
