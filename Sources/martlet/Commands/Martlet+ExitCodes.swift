// Exit codes of martlet: 0 done, 1 failed, 2 called wrongly. The parser's own code for the last is 64.

import ArgumentParser
import Glibc

extension Martlet {
    static func main() async {
        // A reader that goes away is told by the write that fails, not by the death of the process.
        signal(SIGPIPE, SIG_IGN)
        reserveStandardStreams()
        do {
            try refuseHiddenHelp(CommandLine.arguments.dropFirst())
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch is OutputClosed {
            Glibc.exit(0)
        } catch let failure as CommandFailure {
            printToStandardError(Terminal.errors.show("Error:", as: .bad) + " " + failure.description)
            Glibc.exit(1)
        } catch {
            let code = exitCode(for: error)
            guard code == .validationFailure else { exit(withError: error) }
            printToStandardError(fullMessage(for: error))
            Glibc.exit(2)
        }
    }

    /// The parser reads `-dash` as four flags of which the last is -h, and prints help as if it had been asked for.
    private static func refuseHiddenHelp(_ arguments: ArraySlice<String>) throws {
        for argument in arguments.prefix(while: { $0 != "--" })
        where argument.hasPrefix("-") && !argument.hasPrefix("--") && argument.count > 2 && argument != "-help" {
            let letters = argument.dropFirst().prefix { $0 != "=" }
            guard letters.allSatisfy(\.isLetter), letters.contains("h") else { continue }
            throw ValidationError("there is no option \(argument): names that begin with '-' go behind --")
        }
    }
}
