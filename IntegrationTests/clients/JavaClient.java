// The released Java client behind a line protocol on standard input and output: one JVM serves a whole test run.
//
// Fields are separated by tabs; keys, values and headers are base64, "-" is null; headers are name:value joined by ";".
//   list                                              ok <names joined by ,>
//   create <topic> <partitions> <replication factor>  ok
//   produce <topic> <partition> <codec> <acks> <idempotent> <n>, then n lines <timestamp> <key> <value> <headers>
//                                                     ok <offsets joined by ,>
//   spread <topic> <n>, then n lines <key>            ok; the partition is the client's choice, the value is the line's
//                                                     number from 0
//   consume <topic> <partitions joined by ,> <n>      ok <n>, then n lines <partition> <offset> and as above
//   load <topic> <partitions> <name>                  ok; produces name:partition:n until told to stop
//   acknowledged                                      ok <counts per partition joined by ,>
//   stop                                              ok <n>, then n lines <partition> <n> <offset, or the error>
//   abandon                                           ok; the load ends without an account of itself
// And what JavaGroups does.
// Every failure is one line: error <sentence>.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class JavaClient {
    private static final PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    private static final BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private static String bootstrap;
    private static long deadlineSeconds;
    private static Load load;

    public static void main(String[] arguments) throws Exception {
        deadlineSeconds = Long.parseLong(arguments[0]);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            try {
                run(line.split("\t", -1));
            } catch (Exception error) {
                Throwable cause = error.getCause() == null ? error : error.getCause();
                reply("error", String.valueOf(cause).replaceAll("\\s+", " "));
            }
            out.flush();
        }
    }

    private static void run(String[] words) throws Exception {
        switch (words[0]) {
            case "bootstrap": bootstrap = words[1]; reply("ok"); break;
            case "list": list(); break;
            case "create": create(words[1], Integer.parseInt(words[2]), Short.parseShort(words[3])); break;
            case "produce": produce(words); break;
            case "spread": spread(words[1], Integer.parseInt(words[2])); break;
            case "consume": consume(words[1], words[2], Integer.parseInt(words[3])); break;
            case "load": load(words[1], Integer.parseInt(words[2]), words[3]); break;
            case "acknowledged": reply("ok", load.counts()); break;
            case "stop": load.finish(); break;
            case "abandon": load.isAbandoned = true; reply("ok"); break;
            default:
                if (JavaGroups.WORDS.contains(words[0])) { groups(words); }
                else { reply("error", "unknown command " + words[0]); }
        }
    }

    private static void groups(String[] words) throws Exception {
        List<String> answer = new ArrayList<>(List.of("ok"));
        answer.addAll(new JavaGroups(properties(), deadlineSeconds).run(words));
        reply(answer.toArray(String[]::new));
    }

    private static void load(String topic, int partitions, String name) {
        load = new Load(topic, partitions, name);
        load.start();
        reply("ok");
    }

    private static void reply(String... words) {
        out.print(String.join("\t", words) + "\n");
    }

    private static Properties properties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
    }

    private static void list() throws Exception {
        try (Admin admin = Admin.create(properties())) {
            reply("ok", String.join(",", admin.listTopics().names().get(deadlineSeconds, TimeUnit.SECONDS)));
        }
    }

    private static void create(String topic, int partitions, short replicationFactor) throws Exception {
        try (Admin admin = Admin.create(properties())) {
            List<NewTopic> topics = List.of(new NewTopic(topic, partitions, replicationFactor));
            admin.createTopics(topics).all().get(deadlineSeconds, TimeUnit.SECONDS);
            admin.describeTopics(List.of(topic)).allTopicNames().get(deadlineSeconds, TimeUnit.SECONDS);
        }
        reply("ok");
    }

    private static KafkaProducer<byte[], byte[]> producer(String codec, String acks, boolean isIdempotent) {
        Properties properties = properties();
        properties.put("compression.type", codec);
        properties.put("acks", acks);
        properties.put("enable.idempotence", isIdempotent);
        properties.put("linger.ms", 5);
        properties.put("delivery.timeout.ms", (int) (deadlineSeconds * 1000));
        properties.put("request.timeout.ms", 5_000);
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static void produce(String[] words) throws Exception {
        List<Future<RecordMetadata>> futures = new ArrayList<>();
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int left = Integer.parseInt(words[6]); left > 0; left--) {
            String[] fields = in.readLine().split("\t", -1);
            records.add(new ProducerRecord<>(
                words[1], Integer.parseInt(words[2]), Long.parseLong(fields[0]), decode(fields[1]), decode(fields[2]),
                decodeHeaders(fields[3])));
        }
        try (KafkaProducer<byte[], byte[]> producer = producer(words[3], words[4], words[5].equals("true"))) {
            for (ProducerRecord<byte[], byte[]> record : records) { futures.add(producer.send(record)); }
            producer.flush();
            List<String> offsets = new ArrayList<>();
            for (Future<RecordMetadata> future : futures) {
                offsets.add(String.valueOf(future.get(deadlineSeconds, TimeUnit.SECONDS).offset()));
            }
            reply("ok", String.join(",", offsets));
        }
    }

    private static void spread(String topic, int count) throws Exception {
        List<byte[]> keys = new ArrayList<>();
        while (keys.size() < count) { keys.add(decode(in.readLine())); }
        List<Future<RecordMetadata>> futures = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer("none", "all", true)) {
            for (byte[] key : keys) {
                byte[] value = String.valueOf(futures.size()).getBytes(StandardCharsets.UTF_8);
                futures.add(producer.send(new ProducerRecord<>(topic, key, value)));
            }
            producer.flush();
            for (Future<RecordMetadata> future : futures) { future.get(deadlineSeconds, TimeUnit.SECONDS); }
        }
        reply("ok");
    }

    private static void consume(String topic, String partitionList, int count) {
        Properties properties = properties();
        properties.put("enable.auto.commit", false);
        properties.put("auto.offset.reset", "none");
        List<TopicPartition> partitions = new ArrayList<>();
        for (String word : partitionList.split(",")) {
            partitions.add(new TopicPartition(topic, Integer.parseInt(word)));
        }
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long deadline = System.nanoTime() + deadlineSeconds * 1_000_000_000L;
            while (records.size() < count && System.nanoTime() < deadline) {
                consumer.poll(Duration.ofMillis(200)).forEach(records::add);
            }
        }
        reply("ok", String.valueOf(records.size()));
        for (ConsumerRecord<byte[], byte[]> record : records) {
            reply(
                String.valueOf(record.partition()), String.valueOf(record.offset()),
                String.valueOf(record.timestamp()), encode(record.key()), encode(record.value()),
                encodeHeaders(record.headers()));
        }
    }

    private static String encode(byte[] bytes) {
        return bytes == null ? "-" : Base64.getEncoder().encodeToString(bytes);
    }

    private static byte[] decode(String text) {
        return text.equals("-") ? null : Base64.getDecoder().decode(text);
    }

    private static String encodeHeaders(Iterable<Header> headers) {
        List<String> parts = new ArrayList<>();
        for (Header header : headers) {
            parts.add(encode(header.key().getBytes(StandardCharsets.UTF_8)) + ":" + encode(header.value()));
        }
        return String.join(";", parts);
    }

    private static List<Header> decodeHeaders(String text) {
        List<Header> headers = new ArrayList<>();
        if (text.isEmpty()) { return headers; }
        for (String part : text.split(";")) {
            String[] halves = part.split(":", -1);
            headers.add(new RecordHeader(new String(decode(halves[0]), StandardCharsets.UTF_8), decode(halves[1])));
        }
        return headers;
    }

    /** An idempotent producer that writes until it is told to stop, and remembers what was acknowledged where. */
    private static class Load extends Thread {
        private final String topic;
        private final String name;
        private final int[] acknowledged;
        private final List<String> outcomes = new ArrayList<>();
        private volatile boolean isStopping = false;
        private volatile boolean isAbandoned = false;

        Load(String topic, int partitions, String name) {
            this.topic = topic;
            this.name = name;
            acknowledged = new int[partitions];
            setDaemon(true);
        }

        @Override
        public void run() {
            Semaphore inFlight = new Semaphore(100);
            try (KafkaProducer<byte[], byte[]> producer = producer("none", "all", true)) {
                for (int number = 0; !isStopping && !isAbandoned; number++) {
                    for (int partition = 0; partition < acknowledged.length; partition++) {
                        send(producer, inFlight, partition, number);
                    }
                    Thread.sleep(2);
                }
                if (isAbandoned) { producer.close(Duration.ZERO); } else { producer.flush(); }
            } catch (Exception error) {
                synchronized (this) { outcomes.add("-1\t-1\t" + error); }
            }
        }

        private void send(KafkaProducer<byte[], byte[]> producer, Semaphore inFlight, int partition, int number)
                throws InterruptedException {
            byte[] value = (name + ":" + partition + ":" + number).getBytes(StandardCharsets.UTF_8);
            while (!inFlight.tryAcquire(100, TimeUnit.MILLISECONDS)) { if (isAbandoned) { return; } }
            producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, error) -> {
                synchronized (this) {
                    Object outcome = error == null ? metadata.offset() : error.toString().replaceAll("\\s+", " ");
                    outcomes.add(partition + "\t" + number + "\t" + outcome);
                    if (error == null) { acknowledged[partition] += 1; }
                }
                inFlight.release();
            });
        }

        synchronized String counts() {
            return String.join(",", Arrays.stream(acknowledged).mapToObj(String::valueOf).toList());
        }

        void finish() throws InterruptedException {
            isStopping = true;
            join(deadlineSeconds * 1000);
            synchronized (this) {
                reply("ok", String.valueOf(outcomes.size()));
                outcomes.forEach(JavaClient::reply);
            }
        }
    }
}
