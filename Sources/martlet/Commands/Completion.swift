// martlet completion bash|zsh|fish: the script that lets a shell complete commands and options.

import ArgumentParser

struct Completion: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a script that completes martlet's commands in a shell.",
        discussion: """
            bash: martlet completion bash > ~/.local/share/bash-completion/completions/martlet
            zsh:  martlet completion zsh > "${fpath[1]}/_martlet"    (then a new shell)
            fish: martlet completion fish > ~/.config/fish/completions/martlet.fish
            For this shell only: source <(martlet completion bash)
            """)

    enum Shell: String, ExpressibleByArgument, CaseIterable {
        case bash, zsh, fish
    }

    @Argument(help: "bash, zsh or fish.") var shell: Shell

    func run() throws {
        let kind: CompletionShell =
            switch shell {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        try StandardOutput.write(Martlet.completionScript(for: kind) + "\n")
    }
}
