// Members by the released Java client: the same events as member.py prints, a thread for each member.
//
// Arguments: bootstrap, session timeout in ms, metadata age in ms, then for each member five: name, group, assignor,
// topics joined by "," or "~" and a pattern, instance id or "-". The line "stop" or the end of the input ends them.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.serialization.StringDeserializer;

public class JavaMember implements Runnable, ConsumerRebalanceListener {
    private static final Map<String, String> ASSIGNORS = Map.of(
        "range", "RangeAssignor", "roundrobin", "RoundRobinAssignor", "sticky", "StickyAssignor",
        "cooperative-sticky", "CooperativeStickyAssignor");
    private static final long COMMIT_NANOS = 400_000_000L;
    private static volatile boolean isStopping = false;

    private final String name;
    private final String group;
    private final String topics;
    private final KafkaConsumer<String, String> consumer;
    private final Set<TopicPartition> owned = new HashSet<>();
    private final Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
    private long committedAt = System.nanoTime();

    public static void main(String[] arguments) throws Exception {
        List<Thread> threads = new ArrayList<>();
        for (int at = 3; at < arguments.length; at += 5) {
            threads.add(new Thread(new JavaMember(arguments, at)));
        }
        threads.forEach(Thread::start);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null && !line.equals("stop"); line = in.readLine()) { }
        isStopping = true;
        for (Thread thread : threads) { thread.join(); }
    }

    private JavaMember(String[] arguments, int at) {
        name = arguments[at];
        group = arguments[at + 1];
        topics = arguments[at + 3];
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("group.id", group);
        properties.put("metadata.max.age.ms", arguments[2]);
        properties.put("reconnect.backoff.max.ms", 500);
        properties.put("enable.auto.commit", false);
        properties.put("auto.offset.reset", "earliest");
        properties.put("allow.auto.create.topics", false);
        String assignor = arguments[at + 2];
        if (assignor.startsWith("consumer-")) {
            properties.put("group.protocol", "consumer");
            properties.put("group.remote.assignor", assignor.substring("consumer-".length()));
        } else {
            properties.put("group.protocol", "classic");
            properties.put("session.timeout.ms", arguments[1]);
            properties.put("heartbeat.interval.ms", 500);
            properties.put(
                "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + ASSIGNORS.get(assignor));
        }
        if (!arguments[at + 4].equals("-")) { properties.put("group.instance.id", arguments[at + 4]); }
        consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    @Override
    public void run() {
        try {
            if (topics.startsWith("~")) {
                consumer.subscribe(Pattern.compile(topics.substring(1)), this);
            } else {
                consumer.subscribe(List.of(topics.split(",")), this);
            }
            while (!isStopping) {
                List<String> runs = new ArrayList<>();
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    take(record, runs);
                }
                if (!runs.isEmpty()) { tell("read", "\"runs\": [" + String.join(", ", runs) + "]"); }
                if (System.nanoTime() - committedAt > COMMIT_NANOS) { commit(); }
            }
            consumer.close();
            tell("closed", "\"left\": true");
        } catch (Exception error) {
            tell("error", "\"error\": " + quoted(error));
        }
    }

    private void take(ConsumerRecord<String, String> record, List<String> runs) {
        TopicPartition partition = new TopicPartition(record.topic(), record.partition());
        if (!owned.contains(partition)) { return; }
        if (!String.valueOf(record.offset()).equals(record.value())) {
            String sentence = "record " + record.offset() + " of " + partition + " says " + record.value();
            tell("error", "\"error\": " + quoted(sentence));
        }
        runs.add(row(partition, record.offset() + ", " + record.offset()));
        positions.put(partition, new OffsetAndMetadata(record.offset() + 1));
    }

    private void commit() {
        committedAt = System.nanoTime();
        if (positions.isEmpty()) { return; }
        try {
            consumer.commitSync(positions, Duration.ofSeconds(10));
            String rows = positions.entrySet().stream()
                .map(entry -> row(entry.getKey(), String.valueOf(entry.getValue().offset())))
                .collect(Collectors.joining(", "));
            tell("committed", "\"offsets\": [" + rows + "]");
            positions.clear();
        } catch (FencedInstanceIdException error) {
            throw error;
        } catch (KafkaException error) {
            tell("commit_failed", "\"error\": " + quoted(error));
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        owned.addAll(partitions);
        tell("assigned", partitions(partitions) + ", \"generation\": " + consumer.groupMetadata().generationId());
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        commit();
        gone(partitions, "revoked");
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) { gone(partitions, "lost"); }

    private void gone(Collection<TopicPartition> partitions, String event) {
        tell(event, partitions(partitions));
        owned.removeAll(partitions);
        positions.keySet().removeAll(partitions);
    }

    private static String partitions(Collection<TopicPartition> partitions) {
        return "\"partitions\": [" + partitions.stream()
            .map(partition -> "[\"" + partition.topic() + "\", " + partition.partition() + "]")
            .collect(Collectors.joining(", ")) + "]";
    }

    private static String row(TopicPartition partition, String rest) {
        return "[\"" + partition.topic() + "\", " + partition.partition() + ", " + rest + "]";
    }

    private static String quoted(Object text) {
        return "\"" + text.toString().replaceAll("[\\\\\"\\p{Cntrl}]", " ") + "\"";
    }

    private void tell(String event, String fields) {
        String line = "{\"at\": " + System.nanoTime() / 1e9 + ", \"member\": \"" + name + "\", \"group\": \"" + group
            + "\", \"event\": \"" + event + "\", " + fields + "}\n";
        synchronized (System.out) {
            System.out.print(line);
            System.out.flush();
        }
    }
}
