// Exit codes of martlet: 0 done, 1 failed, 2 called wrongly. The parser's own code for the last is 64.

import ArgumentParser
import Glibc

extension Martlet {
    static func main() async {
        // A reader that goes away is told by the write that fails, not by the death of the process.
        signal(SIGPIPE, SIG_IGN)
        do {
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
}
