// The difference of two images, for a node that went on from a snapshot and saw no record.

import Model

extension ImageChanges {
    package init(from old: MetadataImage, to new: MetadataImage) {
        self.init()
        for (id, topic) in new.topics where old.topics[id] != topic {
            touch(topic: id)
            let before = old.topics[id]?.partitions ?? []
            for (index, partition) in topic.partitions.enumerated()
            where index >= before.count || before[index] != partition {
                touch(partition: Int32(index), of: id)
            }
        }
        for (id, _) in old.topics where new.topics[id] == nil { delete(topic: id) }
        for (id, broker) in new.brokers where old.brokers[id] != broker { touch(broker: id) }
        for (id, _) in old.brokers where new.brokers[id] == nil { touch(broker: id) }
        for (resource, settings) in new.configs where old.configs[resource] != settings { touch(config: resource) }
        for (resource, _) in old.configs where new.configs[resource] == nil { touch(config: resource) }
    }
}
