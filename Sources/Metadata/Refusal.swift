// A request, or a part of one, that is not done: the error code and the sentence beside it.

import Model

struct Refusal: Error, Hashable {
    var code: ErrorCode
    var sentence: String

    init(_ code: ErrorCode, _ sentence: String) {
        self.code = code
        self.sentence = sentence
    }
}
