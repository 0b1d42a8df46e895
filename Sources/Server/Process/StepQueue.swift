// Keeps steps from nesting: carrying out an effect can cause the next input before the effect's step is over.

struct StepQueue<Input> {
    private var waiting: [Input] = []
    private var isStepping = false

    var isBusy: Bool { isStepping }

    /// True: the caller steps this input and then asks `next` until there is none. False: it waits for a step under
    /// way.
    mutating func begin(_ input: Input) -> Bool {
        if isStepping {
            waiting.append(input)
            return false
        }
        isStepping = true
        return true
    }

    mutating func next() -> Input? {
        if waiting.isEmpty {
            isStepping = false
            return nil
        }
        return waiting.removeFirst()
    }
}
