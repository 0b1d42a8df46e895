// The invariants that are checked, by their numbers in reliability.md §5, and how often each had something to check.

package enum Invariant: String, CaseIterable, Sendable {
    case r1 = "R1 one leader per quorum epoch"
    case r2 = "R2 epoch and vote never go back"
    case r2counted = "R2 a counted vote is on the disk that gave it"
    case r3 = "R3 metadata logs agree below the high watermark"
    case r4 = "R4 committed metadata is in every later leader's log"
    case r4own = "R4 a leader commits by a record of its own epoch"
    case r5cluster = "R5 all nodes belong to one cluster"
    case r6 = "R6 a majority is durable at commit"
    case r6kept = "R6 what is committed stays durable on a majority"
    case r8 = "R8 a quorum member's own state is sound"
    case p1 = "P1 one value per offset"
    case p2 = "P2 replicas agree below the high watermark"
    case p3 = "P3 committed records are in every later leader's log"
    case p4 = "P4 whoever may be elected holds all that is committed"
    case p5 = "P5 a leader counts all who may be elected"
    case p6 = "P6 an acknowledgement is durable on the whole ISR"
    case p6epoch = "P6 whoever is counted was in the leader's epoch"
    case p7 = "P7 consumers see committed records only"
    case p8 = "P8 the high watermark is monotone and inside the log"
    case p8shown = "P8 the shown end never goes back"
    case p9 = "P9 ISR, ELR and leader are replicas in service"
    case p9join = "P9 a replica joins the ISR with all of it"
    case p10 = "P10 one incarnation leads an epoch, and epochs rise"
    case p10fetch = "P10 a Fetch of an earlier epoch is not taken"
    case p10history = "P10 the epoch history is that of the log"
    case p11 = "P11 a damaged copy neither leads nor is in sync beside a whole one"
    case p13 = "P13 nothing is committed below min.insync.replicas"
    case p12start = "P12 S7 the shown log start never goes back"
    case p3start = "P3 only what was to be deleted is"
    case i1 = "I1 idempotent producers: in order, no duplicates, no refusal"
    case i2 = "I2 a retry is answered with the first offset"
    case i3 = "I3 producer ids are given once"
    case i3table = "I3 dedupe state is a function of the log"
    case s1 = "S1 what is called flushed is on the medium"
    case s1kept = "S1 what was flushed is there after a crash"
    case s2 = "S2 a recovered log is whole sound batches"
    case s5 = "S5 what rots is found and repaired"
    case s7 = "S7 what was cut off does not come back"
    case m1 = "M1 equal metadata offsets give equal images"
    case m5 = "M5 the ISR grows by its leader's word in the current epochs"
    case m5left = "M5 the ISR shrinks by its leader's word"
    case m3 = "M3 created topics stay"
    case acked = "P3 acknowledged records are in the final logs"
    case l1 = "L1 one controller after the faults"
    case l2 = "L2 all partitions led, all in sync"
    case l4 = "L4 all operations of clients end"
    case l6 = "L6 all replicas are equal"
}

package struct Violation: Error, Sendable {
    package var invariant: String
    package var words: String
    package var atNanoseconds: Int64
    package var event: UInt64
}
