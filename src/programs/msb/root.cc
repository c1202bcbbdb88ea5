// SPDX-License-Identifier: Apache-2.0
// Looks an image up, or starts msb-image for a one-off root disk.

#include "programs/msb/root.h"

#include <fcntl.h>

#include "base/text.h"
#include "image/store/store.h"
#include "json/value.h"
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

// The unpacker's error, {"error":{"message":…,"remedy":…}}, as ours.
Error RefusalOf(const std::string& source, const std::string& report) {
  auto field = [&](const char* name) -> Result<std::string> {
    auto document = TRY(json::Document::Parse(report, {.max_bytes = kMaxReport}));
    return TRY(TRY(document.root().Field("error")).Field(name)).String();
  };
  auto message = field("message");
  auto remedy = field("remedy");
  return Error(Code::kInvalidArgument,
               Cat("--rootfs ", Escape(source, 200), ": ",
                   message.ok() ? Escape(*message, 1000) : "no root disk could be made of it"))
      .Remedy(remedy.ok() && !remedy->empty() ? Escape(*remedy, 1000)
                                              : "give a directory, or a tar that tar -t can list");
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

Result<Root> MakeRoot(const sandbox::Home& home, const std::string& source) {
  std::string program = TRY(FindImageProgram());
  auto disk = TRY(sys::UnnamedFile(home.dir()));
  auto null = TRY(sys::OpenAt(sys::Cwd(), "/dev/null", O_RDWR));
  auto report = TRY(sys::MakePipe());
  sys::SpawnOptions spawn{
      .argv = {program, "unpack", "--output-fd", "3", "--quiet", "--", source},
      .env = sys::CurrentEnvironment(),
      .fds = {{null.get(), 0}, {report.write.get(), 1}, {disk.get(), 3}},
      .die_with_parent = true,
  };
  auto child = TRY(sys::Spawn(spawn));
  report.write.Reset();
  std::string said = TRY(sys::ReadAll(report.read, kMaxReport));
  auto status = TRY(child.Wait(Deadline::Never()));
  if (status.signaled)
    return Error(Code::kUnavailable, Cat("--rootfs ", Escape(source, 200),
                                         ": msb-image was killed by signal ", status.code));
  if (status.code != 0) return RefusalOf(source, said);
  // The supervisor gets what cannot be written.
  auto read_only = TRY(sys::OpenAt(sys::Cwd(), Cat("/proc/self/fd/", disk.get()), O_RDONLY));
  return Root{std::move(read_only), source, "", {}};
}

}  // namespace msb::cli
