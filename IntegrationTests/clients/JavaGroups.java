// What JavaClient does about groups: a simple consumer's commits, and the Admin's calls. Words in, words out.
//
//   commit <group> <topic> <partition> <offset> <metadata>   ok
//   committed <group> <topic> <partition>                    ok <offset or -> <metadata>
//   groups                                                   ok <name=state joined by ,>
//   describe <group>                                         ok <state> <assignor> <coordinator> <one word a member>
//                                                            a member: instance or -;topic-partition joined by ,
//   offsets <group>                                          ok <topic-partition=offset=metadata, one word each>
//   alter <group> <topic> <partition> <offset> <metadata>    ok
//   delete-offset <group> <topic> <partition>                ok
//   delete-group <group>                                     ok
//   topic <name>                                             ok <internal> <partitions> <replicas of the first>

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

final class JavaGroups {
    static final Set<String> WORDS = Set.of("commit", "committed", "groups", "describe", "offsets", "alter",
        "delete-offset", "delete-group", "topic");

    private final Properties properties;
    private final long deadlineSeconds;

    JavaGroups(Properties properties, long deadlineSeconds) {
        this.properties = properties;
        this.deadlineSeconds = deadlineSeconds;
    }

    List<String> run(String[] words) throws Exception {
        if (words[0].startsWith("commit")) { return byConsumer(words); }
        try (Admin admin = Admin.create(properties)) {
            return byAdmin(admin, words);
        }
    }

    private List<String> byConsumer(String[] words) {
        properties.put("group.id", words[1]);
        properties.put("enable.auto.commit", false);
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            TopicPartition partition = partition(words);
            consumer.assign(List.of(partition));
            if (words[0].equals("commit")) {
                consumer.commitSync(Map.of(partition, offset(words)));
                return List.of();
            }
            OffsetAndMetadata found = consumer.committed(Set.of(partition)).get(partition);
            return found == null ? List.of("-", "") : List.of(String.valueOf(found.offset()), found.metadata());
        }
    }

    private List<String> byAdmin(Admin admin, String[] words) throws Exception {
        switch (words[0]) {
            case "groups":
                return List.of(admin.listGroups().all().get(deadlineSeconds, TimeUnit.SECONDS).stream()
                    .map(group -> group.groupId() + "=" + group.groupState().map(Object::toString).orElse(""))
                    .collect(Collectors.joining(",")));
            case "describe": return describe(admin, words[1]);
            case "offsets":
                return admin.listConsumerGroupOffsets(words[1]).partitionsToOffsetAndMetadata()
                    .get(deadlineSeconds, TimeUnit.SECONDS).entrySet().stream()
                    .map(row -> row.getKey() + "=" + row.getValue().offset() + "=" + row.getValue().metadata())
                    .toList();
            case "alter":
                admin.alterConsumerGroupOffsets(words[1], Map.of(partition(words), offset(words))).all()
                    .get(deadlineSeconds, TimeUnit.SECONDS);
                return List.of();
            case "delete-offset":
                admin.deleteConsumerGroupOffsets(words[1], Set.of(partition(words))).all()
                    .get(deadlineSeconds, TimeUnit.SECONDS);
                return List.of();
            case "delete-group":
                admin.deleteConsumerGroups(List.of(words[1])).all().get(deadlineSeconds, TimeUnit.SECONDS);
                return List.of();
            default:
                TopicDescription topic = admin.describeTopics(List.of(words[1])).allTopicNames()
                    .get(deadlineSeconds, TimeUnit.SECONDS).get(words[1]);
                return List.of(String.valueOf(topic.isInternal()), String.valueOf(topic.partitions().size()),
                    String.valueOf(topic.partitions().get(0).replicas().size()));
        }
    }

    private List<String> describe(Admin admin, String group) throws Exception {
        ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(group)).all()
            .get(deadlineSeconds, TimeUnit.SECONDS).get(group);
        List<String> words = new ArrayList<>(List.of(
            found.groupState().toString(), found.partitionAssignor(), String.valueOf(found.coordinator().id())));
        found.members().forEach(member -> words.add(member.groupInstanceId().orElse("-") + ";"
            + member.assignment().topicPartitions().stream().map(String::valueOf).sorted()
                .collect(Collectors.joining(","))));
        return words;
    }

    private static TopicPartition partition(String[] words) {
        return new TopicPartition(words[2], Integer.parseInt(words[3]));
    }

    private static OffsetAndMetadata offset(String[] words) {
        return new OffsetAndMetadata(Long.parseLong(words[4]), words[5]);
    }
}
