// SPDX-License-Identifier: Apache-2.0
// The parent of an import. It never looks into the source: it hands descriptors to the child,
// hashes what the child wrote, and stores it under that hash.
#include "programs/msb_image/import.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/json_writer.h"
#include "base/text.h"
#include "base/units.h"
#include "crypto/sha256.h"
#include "image/store/store.h"
#include "json/pretty.h"
#include "programs/msb_image/report.h"
#include "programs/msb_image/unpack.h"
#include "sys/file.h"
#include "sys/process.h"

namespace msb::image_program {
namespace {

constexpr size_t kMaxReport = 64 * 1024;
constexpr std::string_view kHomeRemedy =
    "set MICROSANDBOX_HOME to a directory that you can write to";

Result<UniqueFd> OpenHome(const ImportOptions& options) {
  std::string path;
  if (options.home) {
    path = *options.home;
  } else if (auto named = sys::GetEnv("MICROSANDBOX_HOME"); named && !named->empty()) {
    path = *named;
  } else if (auto user = sys::GetEnv("HOME"); user && !user->empty()) {
    path = Cat(*user, "/.microsandbox");
  } else {
    return Error(Code::kFailedPrecondition, "neither MICROSANDBOX_HOME nor HOME is set")
        .Remedy("set MICROSANDBOX_HOME to a directory for images and sandboxes");
  }
  return sys::EnsureDirectory(sys::Cwd(), path, 0700)
      .Context("MICROSANDBOX_HOME")
      .Remedy(kHomeRemedy);
}

// Signals that end us, read instead of suffered, so that nothing is left behind.
class Interrupts {
 public:
  static Result<Interrupts> Create() {
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    return Interrupts(TRY(sys::SignalFd(signals)));
  }
  // 0 while there is none.
  int Pending() {
    signalfd_siginfo info;
    if (signal_ == 0 && ::read(fd_.get(), &info, sizeof info) == sizeof info)
      signal_ = static_cast<int>(info.ssi_signo);
    return signal_;
  }
  BorrowedFd fd() const { return fd_; }

 private:
  explicit Interrupts(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  int signal_ = 0;
};

Error Interrupted() { return {Code::kUnavailable, "interrupted"}; }

// Everything that comes out of `pipe`, or an error when a signal or too much of it comes first.
Result<std::string> ReadReportText(BorrowedFd pipe, Interrupts& interrupts) {
  std::string text;
  std::byte buffer[4096];
  while (true) {
    pollfd waits[] = {{pipe.get(), POLLIN, 0}, {interrupts.fd().get(), POLLIN, 0}};
    if (::poll(waits, 2, -1) == -1 && errno != EINTR) return Error::Errno("poll");
    if (interrupts.Pending() != 0) return Interrupted();
    if (waits[0].revents == 0) continue;
    size_t got = TRY(sys::ReadSome(pipe, buffer));
    if (got == 0) return text;
    text += AsText(std::span(buffer).first(got));
    if (text.size() > kMaxReport)
      return Error(Code::kInternal, "report of the unpacker: is too long");
  }
}

Result<rootfs::RootDiskSummary> UnpackInChild(const ImportOptions& options, BorrowedFd source,
                                              BorrowedFd disk, Interrupts& interrupts) {
  sys::Pipe pipe = TRY(sys::MakePipe());
  sys::SpawnOptions spawn{.argv = {"msb-image", "unpack", "--source-fd=3", "--output-fd=4"},
                          .program = "/proc/self/exe",
                          .env = sys::CurrentEnvironment(),
                          .fds = {{source.get(), 3}, {disk.get(), 4}, {pipe.write.get(), 1}},
                          .die_with_parent = true};
  if (options.quiet) spawn.argv.push_back("--quiet");
  // Killed and reaped by its destructor when a signal ends us.
  sys::Child child = TRY(sys::Spawn(spawn));
  pipe.write.Reset();
  std::string report = TRY(ReadReportText(pipe.read, interrupts));
  sys::ExitStatus status = TRY(child.Wait(Deadline::Never()));
  if (status.signaled && status.code == SIGSYS)
    return Error(Code::kPermissionDenied, "the unpacker tried what its confinement forbids")
        .Remedy("distrust the source: it may be made to attack what reads it");
  if (status.signaled)
    return Error(Code::kInternal, Cat("the unpacker was killed by signal ", status.code))
        .Remedy("look for an out-of-memory kill (dmesg); else distrust the source");
  return ReadReport(report);
}

Result<store::Digest> HashDisk(BorrowedFd disk, Interrupts& interrupts) {
  auto hash = TRY(crypto::Sha256::Create());
  std::vector<std::byte> buffer(size_t{1} << 20);
  off_t offset = 0;
  while (size_t got = TRY(sys::ReadSomeAt(disk, buffer, offset))) {
    if (interrupts.Pending() != 0) return Interrupted();
    hash.Update(std::span(buffer).first(got));
    offset += static_cast<off_t>(got);
  }
  return store::Digest::OfSha256(TRY(hash.Finish()));
}

Result<store::ImageDocuments> MakeDocuments(const store::ImageConfig& config,
                                            const store::Digest& disk, uint64_t disk_bytes) {
  store::Descriptor layer{std::string(store::kRootDiskMediaType), disk, disk_bytes};
  std::string text = store::WriteImageConfig(config, layer);
  auto digest = store::Digest::OfSha256(TRY(crypto::HashBytes(AsBytes(text))));
  store::Descriptor described{std::string(store::kConfigMediaType), digest, text.size()};
  std::string manifest = store::WriteManifest(described, layer);
  auto manifest_digest = store::Digest::OfSha256(TRY(crypto::HashBytes(AsBytes(manifest))));
  return store::ImageDocuments{digest, std::move(text), manifest_digest, std::move(manifest)};
}

std::string Describe(const store::Image& image, const rootfs::RootDiskSummary& summary,
                     bool as_json) {
  if (!as_json)
    return Cat("imported ", image.reference.Familiar(), " (", image.manifest.Short(), ", ",
               FormatSize(image.disk_bytes), ", ", summary.files,
               summary.files == 1 ? " file)\n" : " files)\n");
  JsonWriter json;
  json.BeginObject();
  json.Key("reference").String(image.reference.Canonical());
  json.Key("manifest").String(image.manifest.ToString());
  json.Key("config").String(image.config_digest.ToString());
  json.Key("disk_bytes").Number(image.disk_bytes);
  json.Key("input_bytes").Number(summary.input_bytes);
  json.Key("files").Number(summary.files);
  json.Key("directories").Number(summary.directories);
  json.Key("symlinks").Number(summary.symlinks);
  json.Key("special_files").Number(summary.special_files);
  json.Key("dropped_xattrs").Number(summary.dropped_xattrs);
  json.EndObject();
  return json::Pretty(std::move(json).Take()) + "\n";
}

Result<std::string> ImportImage(const ImportOptions& options, Interrupts& interrupts) {
  store::Resolution resolution = TRY(store::Resolve(options.name));
  if (resolution.reference.digest())
    return Error(Code::kInvalidArgument, "an import has the digest that its content gives it")
        .Remedy("leave the @sha256:... out");
  UniqueFd source = TRY(OpenSource(options.source));
  UniqueFd home = TRY(OpenHome(options));
  auto images = TRY(store::Store::Open(home));
  auto staging = images.Stage();
  if (!staging && staging.error().code() == Code::kPermissionDenied)
    return std::move(staging).error().Remedy(kHomeRemedy);
  auto staged = TRY(std::move(staging));
  auto unpacked = UnpackInChild(options, source, staged.disk(), interrupts);
  if (!unpacked) return std::move(unpacked).error();
  const rootfs::RootDiskSummary& summary = *unpacked;
  store::Digest disk = TRY(HashDisk(staged.disk(), interrupts));
  auto documents = TRY(MakeDocuments(options.config, disk, summary.image_bytes));
  auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  auto image = TRY(std::move(staged).Commit(resolution.reference, documents, now));
  if (summary.dropped_xattrs > 0 && !options.quiet)
    (void)sys::WriteAll(BorrowedFd::Raw(STDERR_FILENO),
                        Cat("msb-image: ", summary.dropped_xattrs,
                            " extended attributes have no place in a root disk, the first is ",
                            Escape(summary.first_dropped_xattr), "\n"));
  // What this import replaced. The image is in; that something else is wrong with the store is for
  // `msb gc` to say.
  (void)images.CollectGarbage();
  return Describe(image, summary, options.json);
}

}  // namespace

namespace {

// For an error that came from too far below to know what the user could do.
std::string_view RemedyFor(Code code) {
  if (code == Code::kNotFound) return "give a directory, a tar file, or - for a tar on stdin";
  if (code == Code::kPermissionDenied)
    return "make the source readable to you, or run as its owner";
  if (code == Code::kInvalidArgument || code == Code::kDataLoss)
    return "look at the source with tar -tvf; make or fetch it again when it is cut short";
  if (code == Code::kResourceExhausted) return "make room below MICROSANDBOX_HOME, or run: msb gc";
  return "";
}

}  // namespace

Result<ImportOutcome> Import(const ImportOptions& options) {
  Interrupts interrupts = TRY(Interrupts::Create());
  auto output = ImportImage(options, interrupts);
  if (!output && interrupts.Pending() != 0) return ImportOutcome{"", interrupts.Pending()};
  if (output) return ImportOutcome{*std::move(output), 0};
  Error error = std::move(output).error().Context(Cat("import ", Escape(options.name)));
  if (!error.remedy().empty()) return error;
  auto remedy = RemedyFor(error.code());
  return std::move(error).Remedy(remedy);
}

}  // namespace msb::image_program
