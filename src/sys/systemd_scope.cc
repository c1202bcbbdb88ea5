// SPDX-License-Identifier: Apache-2.0
// Asking systemd for a transient scope.

#include "sys/systemd_scope.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/bytes.h"
#include "base/text.h"
#include "sys/dbus_message.h"
#include "sys/socket.h"

namespace msb::sys {
namespace {

constexpr const char* kManager = "org.freedesktop.systemd1";
constexpr const char* kManagerPath = "/org/freedesktop/systemd1";
constexpr const char* kManagerInterface = "org.freedesktop.systemd1.Manager";
constexpr const char* kBus = "org.freedesktop.DBus";
constexpr const char* kBusPath = "/org/freedesktop/DBus";
constexpr uint32_t kHello = 1, kAddMatch = 2, kStart = 3;  // Serials of our calls.
constexpr size_t kMaxLine = 512;
constexpr std::string_view kRemedy =
    "see: systemctl status; or give a delegated cgroup: --cgroup DIR";

Error Unavailable(std::string message) { return Error(Code::kUnavailable, std::move(message)); }

void Append(std::vector<std::byte>& out, std::span<const std::byte> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <class WriteValue>
void Property(dbus::Writer& out, std::string_view name, std::string_view type, WriteValue value) {
  out.Align(8);
  out.Text(name);
  out.Signature(type);
  value();
}

dbus::Writer StartBody(const std::string& unit, std::string_view description) {
  dbus::Writer out;
  out.Text(unit);
  out.Text("fail");
  auto properties = out.BeginArray(8);
  Property(out, "PIDs", "au", [&] {
    auto pids = out.BeginArray(4);
    // The sender, by the credentials of his socket: a number may mean another process where we are
    // in a PID namespace and systemd is not.
    out.Uint32(0);
    out.EndArray(pids);
  });
  Property(out, "Delegate", "b", [&] { out.Bool(true); });
  // Without it a scope that failed stays as a unit until somebody resets it.
  Property(out, "CollectMode", "s", [&] { out.Text("inactive-or-failed"); });
  Property(out, "Description", "s", [&] { out.Text(description); });
  out.EndArray(properties);
  auto auxiliary = out.BeginArray(8);
  out.EndArray(auxiliary);
  return out;
}

// "%2f" for a byte; everything else stands for itself.
std::string Unescape(std::string_view value) {
  std::string out;
  for (size_t i = 0; i < value.size(); i++) {
    auto byte = value[i] == '%' && i + 2 < value.size() ? ParseHex(value.substr(i + 1, 2))
                                                        : std::optional<std::vector<std::byte>>();
    out += byte ? static_cast<char>((*byte)[0]) : value[i];
    if (byte) i += 2;
  }
  return out;
}

// D-Bus Specification, "Server Addresses": "unix:path=/run/user/1000/bus,guid=...;unix:..."
void AddAddress(std::string_view address, std::vector<ManagerSocket>& sockets) {
  constexpr std::string_view kUnix = "unix:";
  for (const std::string& one : Split(address, ';')) {
    if (!one.starts_with(kUnix)) continue;
    for (const std::string& pair : Split(std::string_view(one).substr(kUnix.size()), ',')) {
      size_t equals = pair.find('=');
      std::string key = pair.substr(0, equals);
      if (equals == std::string::npos || (key != "path" && key != "abstract")) continue;
      sockets.push_back({Unescape(std::string_view(pair).substr(equals + 1)), key == "abstract"});
    }
  }
}

// Names that tell that nobody who could make scopes is there.
bool NobodyThere(std::string_view name) {
  constexpr std::string_view kNames[] = {
      "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
      "org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Disconnected",
      "org.freedesktop.DBus.Error.NoServer"};
  for (std::string_view one : kNames)
    if (name == one) return true;
  return false;
}

Error Refusal(const std::string& unit, const dbus::Message& message) {
  std::string why = message.error_name;
  if (message.signature.starts_with('s')) {
    auto text = dbus::Reader(message.body).Text();
    if (text && !text->empty()) why = *text;
  }
  std::string said = Cat("systemd makes no ", unit, ": ", Escape(why, 200));
  if (NobodyThere(message.error_name)) return Unavailable(std::move(said));
  if (message.error_name == "org.freedesktop.DBus.Error.AccessDenied" ||
      message.error_name == "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired")
    return Error(Code::kPermissionDenied, std::move(said)).Remedy(kRemedy);
  if (message.error_name == "org.freedesktop.systemd1.UnitExists")
    return Error(Code::kAlreadyExists, std::move(said)).Remedy(kRemedy);
  return Error(Code::kFailedPrecondition, std::move(said)).Remedy(kRemedy);
}

}  // namespace

std::vector<ManagerSocket> ManagerSockets(uid_t uid, std::string_view runtime_dir,
                                          std::string_view bus_address) {
  if (uid == 0)
    return {{"/run/dbus/system_bus_socket", false, true}, {"/run/systemd/private", false, false}};
  std::vector<ManagerSocket> sockets;
  AddAddress(bus_address, sockets);
  // Absent where somebody became this user without a login: pam_systemd(8) would have made it.
  std::string directory =
      runtime_dir.starts_with('/') ? std::string(runtime_dir) : Cat("/run/user/", uid);
  ManagerSocket bus{Cat(directory, "/bus"), false, true};
  if (sockets.empty() || sockets.back() != bus) sockets.push_back(std::move(bus));
  // Also where the bus has just been started, and the manager is not on it yet.
  sockets.push_back({Cat(directory, "/systemd/private"), false, false});
  return sockets;
}

std::vector<std::byte> ScopeDialogue::Opening(uid_t uid, std::string_view description) const {
  std::vector<std::byte> out = {std::byte{0}};
  Append(out, AsBytes(Cat("AUTH EXTERNAL ", Hex(AsBytes(Cat(uid))), "\r\nBEGIN\r\n")));
  if (bus_) {
    Append(out, dbus::EncodeCall({kHello, kBus, kBusPath, kBus, "Hello", ""}, dbus::Writer()));
    dbus::Writer rule;
    rule.Text(Cat("type='signal',sender='", kManager, "',interface='", kManagerInterface,
                  "',member='JobRemoved',arg2='", unit_, "'"));
    Append(out, dbus::EncodeCall({kAddMatch, kBus, kBusPath, kBus, "AddMatch", "s"}, rule));
  }
  Append(out, dbus::EncodeCall({kStart, bus_ ? kManager : "", kManagerPath, kManagerInterface,
                                "StartTransientUnit", "ssa(sv)a(sa(sv))"},
                               StartBody(unit_, description)));
  return out;
}

Result<bool> ScopeDialogue::Feed(std::span<const std::byte> bytes) {
  Append(rest_, bytes);
  if (!greeted_ && !TRY(TakeGreeting())) return false;
  size_t taken = 0;
  for (;;) {
    auto rest = std::span(rest_).subspan(taken);
    auto size = TRY(dbus::MessageSize(rest));
    if (!size || rest.size() < *size) break;
    TRY(TakeMessage(rest.first(*size)));
    taken += *size;
  }
  rest_.erase(rest_.begin(), rest_.begin() + static_cast<ptrdiff_t>(taken));
  return answered_ && job_done_;
}

Result<bool> ScopeDialogue::TakeGreeting() {
  std::string_view text = AsText(rest_);
  size_t end = text.find("\r\n");
  if (end == std::string_view::npos) {
    if (text.size() > kMaxLine)
      return Error(Code::kInvalidArgument, "D-Bus: a greeting without an end");
    return false;
  }
  std::string_view line = text.substr(0, end);
  if (line.starts_with("REJECTED"))
    return Error(Code::kPermissionDenied, "D-Bus: this user is not let in").Remedy(kRemedy);
  if (!line.starts_with("OK "))
    return Error(Code::kInvalidArgument, Cat("D-Bus: greeted with \"", Escape(line, 80), "\""));
  rest_.erase(rest_.begin(), rest_.begin() + static_cast<ptrdiff_t>(end + 2));
  greeted_ = true;
  return true;
}

Result<void> ScopeDialogue::TakeMessage(std::span<const std::byte> bytes) {
  dbus::Message message = TRY(dbus::ParseMessage(bytes));
  switch (message.type) {
    case dbus::MessageType::kError:
      return Refusal(unit_, message);
    case dbus::MessageType::kReturn:
      if (message.reply_serial == kStart) answered_ = true;
      return {};
    case dbus::MessageType::kSignal: {
      // The manager itself sends all of its signals to whoever is connected.
      if (message.interface != kManagerInterface || message.member != "JobRemoved" ||
          message.signature != "uoss")
        return {};
      dbus::Reader in(message.body);
      TRY(in.Uint32());  // Its number,
      TRY(in.Text());    // and its object.
      if (TRY(in.Text()) != unit_) return {};
      std::string result = TRY(in.Text());
      if (result != "done")
        return Error(Code::kFailedPrecondition,
                     Cat("systemd's start of ", unit_, " ended with: ", Escape(result, 40)))
            .Remedy(kRemedy);
      job_done_ = true;
      return {};
    }
    case dbus::MessageType::kCall:
      break;
  }
  // Nobody has a reason to call us; unknown types are ignored, as the specification wants.
  return {};
}

ScopeRequest::ScopeRequest(std::string unit, std::string description,
                           std::vector<ManagerSocket> sockets, Deadline deadline)
    : unit_(std::move(unit)),
      description_(std::move(description)),
      sockets_(std::move(sockets)),
      deadline_(deadline) {}

Result<ScopeRequest> ScopeRequest::Send(std::string unit, std::string description,
                                        std::vector<ManagerSocket> sockets, Deadline deadline) {
  ScopeRequest request(std::move(unit), std::move(description), std::move(sockets), deadline);
  TRY(request.Connect());
  return request;
}

// To the next socket behind which somebody listens.
Result<void> ScopeRequest::Connect() {
  for (; next_ < sockets_.size(); next_++) {
    const ManagerSocket& to = sockets_[next_];
    dialogue_.emplace(unit_, to.bus);
    auto attempt = [&]() -> Result<void> {
      socket_ = TRY(ConnectTo(to.path, to.abstract));
      auto opening = dialogue_->Opening(::geteuid(), description_);
      // Less than a kilobyte into an empty socket.
      if (TRY(SendSome(socket_, opening)) != opening.size())
        return Unavailable(Cat(to.path, " takes nothing"));
      return {};
    };
    auto sent = attempt();
    if (sent) {
      next_++;
      return {};
    }
    tried_ += Cat(tried_.empty() ? "" : "; ", sent.error().message());
  }
  return Unavailable(Cat("no manager of systemd answers: ", tried_))
      .Remedy(::geteuid() == 0 ? std::string(kRemedy)
                               : Cat("log in as this user (or, as root: loginctl enable-linger ",
                                     ::geteuid(), "), or give a delegated cgroup: --cgroup DIR"));
}

Result<void> ScopeRequest::Await() {
  for (;;) {
    auto done = Talk();
    socket_.Reset();
    if (done || done.error().code() != Code::kUnavailable) return done;
    tried_ += Cat(tried_.empty() ? "" : "; ", done.error().message());
    TRY(Connect());
  }
}

Result<void> ScopeRequest::Talk() {
  std::array<std::byte, 8192> buffer;
  const std::string& path = sockets_[next_ - 1].path;
  for (;;) {
    pollfd wait{socket_.get(), POLLIN, 0};
    int ready = ::poll(&wait, 1, deadline_.PollTimeout());
    if (ready == -1 && errno != EINTR) return Error::Errno("poll");
    // Checked each time: a manager that talks about other things all the time is late too.
    if (deadline_.Passed())
      return Error(Code::kDeadlineExceeded,
                   Cat("systemd has not made ", unit_, " in time (", path, " was asked for it)"))
          .Remedy(kRemedy);
    if (ready != 1) continue;
    iovec part{buffer.data(), buffer.size()};
    auto count = ReceiveParts(socket_, std::span(&part, 1));
    if (!count && count.error().sys_errno() != ECONNRESET) return std::move(count).error();
    if (!count || *count == size_t{0}) return Unavailable(Cat(path, " hung up"));
    if (!*count) continue;
    if (TRY(dialogue_->Feed(std::span(buffer).first(**count)).Context(path))) return {};
  }
}

}  // namespace msb::sys
