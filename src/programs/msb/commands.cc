// SPDX-License-Identifier: Apache-2.0
// The table of commands: what help, suggestions and completion are made of.

#include "programs/msb/commands.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace msb::cli {

namespace {

constexpr std::array kCommands = {
    CommandInfo{"exe", "x", "IMAGE [--] [COMMAND...]",
                "Run a command in a new sandbox that leaves no trace",
                "msb exe microsandbox/python -- python3 -c 'print(6*7)'\n"
                "msb exe python                        # the image's own command, or a shell\n"
                "msb exe --memory 256M --timeout 10s python -- python3 job.py\n"
                "msb exe -d --name web python          # stays up: msb exec web -- ...\n"
                "msb exe --rootfs ./rootfs.tar -- /bin/sh\n"
                "cat job.py | msx python -- python3 -  # msx is msb exe"},
    CommandInfo{"exec", "", "SANDBOX [--] COMMAND...", "Run a command in a running sandbox",
                "msb exec web -- python3 --version\n"
                "msb exec --user nobody --workdir /tmp web -- id\n"
                "tar c . | msb exec web -- tar x -C /srv"},
    CommandInfo{"shell", "", "SANDBOX", "Open a shell in a running sandbox",
                "msb shell web\nmsb shell --user nobody web"},
    CommandInfo{"ps", "status stat", "", "List sandboxes and how they are",
                "msb ps\nmsb ps -a                # ended ones too\nmsb ps --json"},
    CommandInfo{"inspect", "", "SANDBOX...", "Show everything known of a sandbox, as JSON",
                "msb inspect web\n"
                "msb inspect --walls web  # what is in force, compared with what its start set up"},
    CommandInfo{"logs", "log", "SANDBOX", "Show what a detached sandbox's command printed",
                "msb logs web\nmsb logs -f --tail 20 web\nmsb logs --console web   # the guest's "
                "kernel"},
    CommandInfo{"stop", "", "SANDBOX...", "Stop sandboxes, giving their programs time to end",
                "msb stop web\nmsb stop --grace 30s web"},
    CommandInfo{"kill", "", "SANDBOX...", "Stop sandboxes at once", "msb kill web"},
    CommandInfo{"rm", "", "SANDBOX...", "Remove ended sandboxes, their logs and disks",
                "msb rm web\nmsb rm -f web            # running or not"},
    CommandInfo{"image import", "", "NAME DIR|TAR", "Make an image of a directory or a tar",
                "msb image import local/alpine ./alpine-minirootfs.tar.gz\n"
                "msb image import local/tree ./rootfs"},
    CommandInfo{"image list", "image ls", "", "List the images that are here",
                "msb image list\nmsb image list --json"},
    CommandInfo{"image remove", "image rm", "IMAGE...", "Remove images",
                "msb image remove local/alpine"},
    CommandInfo{"image resolve", "", "IMAGE", "Show what a short image name stands for",
                "msb image resolve python"},
    CommandInfo{"doctor", "", "", "Find out what this host can do, by trying it",
                "msb doctor\nmsb doctor --json"},
    CommandInfo{"gc", "", "", "Remove what dead programs left behind", "msb gc"},
    CommandInfo{"version", "", "", "Show the version", "msb version\nmsb version --json"},
    CommandInfo{"completion", "", "bash|zsh|fish", "Print a completion script for a shell",
                "msb completion bash > ~/.local/share/bash-completion/completions/msb\n"
                "msb completion zsh > \"${fpath[1]}/_msb\"\n"
                "msb completion fish > ~/.config/fish/completions/msb.fish"},
    CommandInfo{"bench start", "", "[IMAGE] [--] [COMMAND...]", "Measure how long a start takes",
                "msb bench start\nmsb bench start --runs 50 --json python -- true"},
    CommandInfo{"help", "", "[COMMAND]", "Show help", "msb help exe"},
};

// Commands of the seed whose time has not come.
constexpr std::array<std::string_view, 18> kLater = {
    "init",  "add",       "remove", "list", "tree", "run",  "r",     "install", "i",
    "apply", "uninstall", "up",     "down", "pull", "push", "login", "self",    "server"};

}  // namespace

std::span<const CommandInfo> Commands() { return kCommands; }

const CommandInfo* FindCommand(std::string_view name) {
  for (const CommandInfo& command : kCommands) {
    if (command.name == name) return &command;
    // The aliases of grouped commands ("image ls") repeat the group.
    std::string_view group = command.name.substr(0, command.name.find(' ') + 1);
    if (!group.empty()) {
      if (command.aliases == name && !name.empty()) return &command;
      continue;
    }
    for (const std::string& alias : Split(command.aliases, ' '))
      if (!alias.empty() && alias == name) return &command;
  }
  return nullptr;
}

bool IsLaterCommand(std::string_view name) {
  return std::find(kLater.begin(), kLater.end(), name) != kLater.end();
}

}  // namespace msb::cli
