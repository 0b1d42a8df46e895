// Topics made, deleted and found by a node's own API.
#define _GNU_SOURCE
#include "BenchDriver.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { UNKNOWN_TOPIC = 3, TOPIC_ALREADY_EXISTS = 36 };

size_t exchange(int port, int api, int version, const unsigned char *body, size_t body_size, unsigned char *answer,
                size_t capacity) {
    unsigned char frame[1024];
    if (body_size + 14 > sizeof frame) fail("a request of %zu bytes to API %d", body_size, api);
    put16(frame + 4, (uint16_t)api);
    put16(frame + 6, (uint16_t)version);
    put32(frame + 8, 1);
    put16(frame + 12, UINT16_MAX);
    memcpy(frame + 14, body, body_size);
    put32(frame, (uint32_t)(10 + body_size));
    int connection = connect_to(port);
    if (connection < 0) return 0;
    send_all(connection, frame, 14 + body_size);
    if (!receive_all(connection, frame, 4)) {
        close(connection);
        return 0;
    }
    size_t size = get32(frame);
    if (size < 16 || size > capacity) fail("an answer of %zu bytes to API %d", size, api);
    receive_all(connection, answer, size);
    close(connection);
    return size;
}

/// A node that has just started, or forgotten a topic, may need a moment. The error stands behind the topic's name; that
/// `done` says that an attempt before this one did it, whose answer was another or did not come.
static void insist(const Server *node, const char *what, int api, int version, const unsigned char *body, size_t size,
                   int done) {
    unsigned char answer[1024];
    int error = 0;
    for (int attempt = 0; attempt < 500; attempt++) {
        if (exchange(node->port, api, version, body, size, answer, sizeof answer) > 0) {
            // Correlation id, throttle time, one topic.
            error = (int16_t)get16(answer + 12 + 2 + get16(answer + 12));
            if (error == 0 || (error == done && attempt > 0)) return;
        }
        usleep(20000);
    }
    fail("%s failed with error %d", what, error);
}

void create_topic(const Server *node, const Topic *topic) {
    unsigned char body[512];
    unsigned char *at = body;
    put32(at, 1);
    at = put_string(at + 4, topic->name);
    put32(at, (uint32_t)topic->partitions);
    put16(at + 4, (uint16_t)topic->replicas);
    put32(at + 6, 0);  // no assignment
    put32(at + 10, topic->segment_bytes > 0 ? 2 : 1);
    at = put_string(at + 14, "flush.mode");
    at = put_string(at, topic->flush_mode);
    if (topic->segment_bytes > 0) {
        char text[16];
        snprintf(text, sizeof text, "%d", topic->segment_bytes);
        at = put_string(put_string(at, "segment.bytes"), text);
    }
    put32(at, 30000);
    at[4] = 0;
    insist(node, "CreateTopics", 19, 3, body, (size_t)(at + 5 - body), TOPIC_ALREADY_EXISTS);
}

void delete_topic(const Server *node, const char *name) {
    unsigned char body[512];
    unsigned char *at = body;
    put32(at, 1);
    at = put_string(at + 4, name);
    put32(at, 30000);
    insist(node, "DeleteTopics", 20, 3, body, (size_t)(at + 4 - body), UNKNOWN_TOPIC);
}

typedef struct {
    int id, port;
} Broker;

/// Reads the brokers of a Metadata answer (version 1); answers how many, and where the topics begin.
static int take_brokers(const unsigned char *answer, Broker *brokers, const unsigned char **end) {
    const unsigned char *at = answer + 4;
    int count = (int)get32(at);
    at += 4;
    for (int i = 0; i < count; i++) {
        Broker broker = {.id = (int)get32(at)};
        at += 4 + 2 + get16(at + 4);
        broker.port = (int)get32(at);
        at += 4;
        at += 2 + (get16(at) == UINT16_MAX ? 0 : get16(at));  // rack
        if (i < NODES_MAX) brokers[i] = broker;
    }
    *end = at + 4;  // the controller
    return count;
}

int brokers_known(const Server *node) {
    unsigned char body[4], answer[4096];
    const unsigned char *end;
    Broker brokers[NODES_MAX];
    put32(body, 0);
    if (exchange(node->port, 3, 1, body, 4, answer, sizeof answer) == 0) return 0;
    return take_brokers(answer, brokers, &end);
}

static int port_of(const Broker *brokers, int count, int id) {
    for (int i = 0; i < count && i < NODES_MAX; i++) {
        if (brokers[i].id == id) return brokers[i].port;
    }
    return -1;
}

/// Reads the ports of all leaders from the part of a Metadata answer about one topic. How many partitions have a leader
/// and every replica in the ISR; `ports` has -1 for the others.
static int take_leaders(const unsigned char *topics, const Topic *topic, const Broker *brokers, int broker_count,
                        int *ports) {
    const unsigned char *at = topics + 4;
    int led = 0;
    if (get32(topics) != 1 || get16(at) != 0) return 0;
    at += 2;
    at += 2 + get16(at) + 1;
    int count = (int)get32(at);
    at += 4;
    for (int i = 0; i < count; i++) {
        int error = (int16_t)get16(at), index = (int)get32(at + 2), leader = (int)get32(at + 6);
        at += 10;
        at += 4 + 4 * get32(at);
        int in_sync = (int)get32(at);
        at += 4 + 4 * get32(at);
        if (index >= topic->partitions) continue;
        ports[index] = error == 0 && in_sync == topic->replicas ? port_of(brokers, broker_count, leader) : -1;
        led += ports[index] >= 0;
    }
    return led;
}

void leader_ports(const Server *node, const Topic *topic, int *ports) {
    static unsigned char answer[1 << 20];
    unsigned char body[256];
    put32(body, 1);
    size_t size = (size_t)(put_string(body + 4, topic->name) - body);
    for (int attempt = 0; attempt < 1000; attempt++) {
        Broker brokers[NODES_MAX];
        const unsigned char *topics;
        if (exchange(node->port, 3, 1, body, size, answer, sizeof answer) == 0) fail("%s has ended", node->name);
        int count = take_brokers(answer, brokers, &topics);
        if (take_leaders(topics, topic, brokers, count, ports) == topic->partitions) return;
        usleep(20000);
    }
    fail("not every partition of %s has a leader with %d replicas in sync", topic->name, topic->replicas);
}
