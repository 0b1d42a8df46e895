// Exit codes of martlet: 0 done, 1 failed, 2 called wrongly. The parser's own code for the last is 64.

import ArgumentParser
import Glibc

extension Martlet {
    static func main() async {
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            let code = exitCode(for: error)
            guard code == .validationFailure else { exit(withError: error) }
            printToStandardError(fullMessage(for: error))
            Glibc.exit(2)
        }
    }
}
