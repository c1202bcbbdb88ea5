// SPDX-License-Identifier: Apache-2.0
// Parsing references. Every accepted character is listed; nothing here can climb out of a path.
#include "image/store/reference.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace msb::store {
namespace {

// The longest normal form; it names a file, and file names have 255 bytes.
constexpr size_t kMaxCanonical = 240;
constexpr size_t kMaxTag = 128;

struct ShortName {
  std::string_view name;
  std::string_view repository;
};
constexpr std::array kShortNames = {ShortName{"node", "microsandbox/node"},
                                    ShortName{"python", "microsandbox/python"}};

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlnum(char c) { return IsLower(c) || IsUpper(c) || IsDigit(c); }

Error Invalid(std::string_view text, std::string_view why,
              std::string_view remedy =
                  "write it as name, name:tag or "
                  "registry.example/team/name:tag") {
  Error error(Code::kInvalidArgument, Cat("image reference \"", Escape(text, 100), "\": ", why));
  return std::move(error).Remedy(remedy);
}

// [a-z0-9]+ joined by ".", "_", "__" or dashes.
bool IsPathComponent(std::string_view text) {
  if (text.empty() || !(IsLower(text.back()) || IsDigit(text.back()))) return false;
  size_t i = 0;
  while (i < text.size()) {
    if (!IsLower(text[i]) && !IsDigit(text[i])) return false;
    while (i < text.size() && (IsLower(text[i]) || IsDigit(text[i]))) ++i;
    std::string_view rest = text.substr(i);
    if (rest.starts_with("__"))
      i += 2;
    else if (rest.starts_with('.') || rest.starts_with('_'))
      i += 1;
    else
      while (i < text.size() && text[i] == '-') ++i;
  }
  return true;
}

bool IsHostLabel(std::string_view text) {
  auto allowed = [](char c) { return IsAlnum(c) || c == '-'; };
  return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
         std::all_of(text.begin(), text.end(), allowed);
}

bool IsRegistry(std::string_view text) {
  std::string_view host = text;
  if (size_t colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    auto port = ParseNumber<uint16_t>(text.substr(colon + 1));
    if (!port || *port == 0 || text[colon + 1] == '0') return false;
  }
  std::vector<std::string> labels = Split(host, '.');
  return !labels.empty() && std::all_of(labels.begin(), labels.end(), IsHostLabel);
}

// The first part of a name is a registry if nothing in a repository could look like it.
bool LooksLikeRegistry(std::string_view first) {
  return first == "localhost" || first.find_first_of(".:") != std::string_view::npos;
}

bool IsTag(std::string_view text) {
  auto allowed = [](char c) { return IsAlnum(c) || c == '_' || c == '.' || c == '-'; };
  return !text.empty() && text.size() <= kMaxTag && text.front() != '.' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), allowed);
}

// The pieces as typed; a piece that is not there is empty, which the grammar never allows.
struct Pieces {
  std::string registry, path, tag, digest;
  bool has_tag = false, has_digest = false;
};

Pieces SplitPieces(std::string_view text) {
  Pieces pieces;
  if (size_t at = text.find('@'); at != std::string_view::npos) {
    pieces.has_digest = true;
    pieces.digest = text.substr(at + 1);
    text = text.substr(0, at);
  }
  size_t slash = text.find('/');
  if (slash != std::string_view::npos && LooksLikeRegistry(text.substr(0, slash))) {
    pieces.registry = text.substr(0, slash);
    text = text.substr(slash + 1);
  }
  if (size_t colon = text.find(':'); colon != std::string_view::npos) {
    pieces.has_tag = true;
    pieces.tag = text.substr(colon + 1);
    text = text.substr(0, colon);
  }
  pieces.path = text;
  return pieces;
}

Result<void> CheckPieces(std::string_view text, const Pieces& pieces) {
  if (text.empty()) return Invalid(text, "is empty");
  if (text.size() > kMaxCanonical)
    return Invalid(text, Cat("is longer than ", kMaxCanonical, " characters"));
  if (text.front() == '.' || text.front() == '/')
    return Invalid(text, "looks like a path",
                   "give a directory as --rootfs DIR, or name it: msb image import NAME DIR");
  if (!pieces.registry.empty() && !IsRegistry(pieces.registry))
    return Invalid(text, "the registry is not host or host:port");
  for (const std::string& component : Split(pieces.path, '/')) {
    if (std::any_of(component.begin(), component.end(), IsUpper))
      return Invalid(text, "the name must be lower case");
    if (!IsPathComponent(component)) return Invalid(text, "the name is not well formed");
  }
  if (pieces.has_tag && !IsTag(pieces.tag)) return Invalid(text, "the tag is not well formed");
  return {};
}

}  // namespace

Result<Reference> Reference::Parse(std::string_view text) {
  Pieces pieces = SplitPieces(text);
  TRY(CheckPieces(text, pieces));
  Reference reference;
  reference.registry_ = pieces.registry.empty() ? std::string(kDefaultRegistry) : pieces.registry;
  for (char& c : reference.registry_)
    if (IsUpper(c)) c = static_cast<char>(c - 'A' + 'a');
  bool bare = pieces.path.find('/') == std::string::npos;
  if (reference.registry_ == kDefaultRegistry && bare)
    reference.repository_ = Cat(kDefaultNamespace, "/");
  reference.repository_ += pieces.path;
  if (pieces.has_digest)
    reference.digest_ = TRY(
        Digest::Parse(pieces.digest).Context(Cat("image reference \"", Escape(text, 100), "\"")));
  reference.tag_ = pieces.has_tag || pieces.has_digest ? pieces.tag : std::string(kDefaultTag);
  if (reference.Canonical().size() > kMaxCanonical)
    return Invalid(text, Cat("is longer than ", kMaxCanonical, " characters when spelled out"));
  return reference;
}

std::string Reference::Canonical() const {
  std::string text = Cat(registry_, "/", repository_);
  if (!tag_.empty()) text += ":" + tag_;
  if (digest_) text += "@" + digest_->ToString();
  return text;
}

std::string Reference::Familiar() const {
  std::string_view name = repository_;
  std::string text;
  if (registry_ != kDefaultRegistry) {
    text = registry_ + "/";
  } else {
    std::string prefix = Cat(kDefaultNamespace, "/");
    std::string_view rest = name.starts_with(prefix) ? name.substr(prefix.size()) : "";
    // "library/localhost/x" without its first part would be read as a registry; likewise a name
    // that the short-name table claims must keep its namespace.
    bool claimed = std::any_of(kShortNames.begin(), kShortNames.end(),
                               [&](const ShortName& entry) { return entry.name == rest; });
    if (!rest.empty() && rest.find('/') == std::string_view::npos && !claimed) name = rest;
    if (LooksLikeRegistry(name.substr(0, name.find('/'))) && name.find('/') != name.npos)
      text = Cat(kDefaultRegistry, "/");
  }
  text += name;
  if (!tag_.empty() && (tag_ != kDefaultTag || digest_)) text += ":" + tag_;
  if (digest_) text += "@" + digest_->ToString();
  return text;
}

Result<Resolution> Resolve(std::string_view text) {
  Pieces pieces = SplitPieces(text);
  std::vector<std::string> steps;
  std::string name(text);
  if (pieces.registry.empty() && !pieces.has_digest &&
      (!pieces.has_tag || pieces.tag == kDefaultTag)) {
    for (const ShortName& entry : kShortNames) {
      if (entry.name != pieces.path) continue;
      steps.push_back(Cat("short name: ", entry.name, " is ", entry.repository));
      name = entry.repository;
    }
  }
  Reference reference = TRY(Reference::Parse(name));
  Pieces named = SplitPieces(name);
  if (named.registry.empty()) steps.push_back(Cat("no registry named: ", kDefaultRegistry));
  if (reference.registry() == kDefaultRegistry && named.path.find('/') == std::string::npos)
    steps.push_back(Cat("no namespace named: ", kDefaultNamespace));
  if (!named.has_tag && !named.has_digest) steps.push_back(Cat("no tag named: ", kDefaultTag));
  steps.push_back(Cat("reference: ", reference.Canonical()));
  return Resolution{std::move(reference), std::move(steps)};
}

}  // namespace msb::store
