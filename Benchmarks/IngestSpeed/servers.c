// The two servers that are measured, as children of the bench, and the node's topics.
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t children[2];
static int child_count = 0;

void end_servers(void) {
    for (int i = 0; i < child_count; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    child_count = 0;
}

/// In the child 0, in the parent the child's id.
static pid_t fork_server(void) {
    fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) fail("no process: %s", strerror(errno));
    if (pid == 0) {
        child_count = 0;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        return 0;
    }
    children[child_count++] = pid;
    return pid;
}

double cpu_seconds(const Server *server) {
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(server->pid, &clock) != 0 || clock_gettime(clock, &time) != 0) {
        fail("%s has ended", server->name);
    }
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

Server start_yardstick(const char *folder) {
    Server server = {.name = "the yardstick", .port = free_port()};
    int listener = listen_on(server.port);
    if (listener < 0) fail("port %d was taken", server.port);
    server.pid = fork_server();
    if (server.pid == 0) {
        char path[4096];
        snprintf(path, sizeof path, "%s/yardstick.log", folder);
        serve_yardstick(listener, path);
    }
    close(listener);
    return server;
}

Server start_node(const char *binary, const char *folder) {
    Server server = {.name = "the node", .port = free_port()};
    server.pid = fork_server();
    if (server.pid == 0) {
        char port[16], data[4096], log_path[4096];
        snprintf(port, sizeof port, "%d", server.port);
        snprintf(data, sizeof data, "%s/node", folder);
        snprintf(log_path, sizeof log_path, "%s/node.log", folder);
        int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
        dup2(log, 1);
        dup2(log, 2);
        execl(binary, binary, "start", "--port", port, "--data", data, NULL);
        _exit(127);
    }
    for (int attempt = 0; attempt < 1000; attempt++) {
        int connection = connect_to(server.port);
        if (connection >= 0) {
            close(connection);
            return server;
        }
        if (waitpid(server.pid, NULL, WNOHANG) == server.pid) break;
        usleep(10000);
    }
    fail("the node did not start: %s/node.log says why (MARTLET or --martlet names the binary)", folder);
}

static unsigned char *put_string(unsigned char *at, const char *text) {
    size_t size = strlen(text);
    put16(at, (uint16_t)size);
    memcpy(at + 2, text, size);
    return at + 2 + size;
}

/// Sends one request and answers the error code of its one topic, which stands behind that topic's name.
static int call(const Server *node, int api, int version, const unsigned char *body, size_t body_size) {
    unsigned char frame[1024];
    put16(frame + 4, (uint16_t)api);
    put16(frame + 6, (uint16_t)version);
    put32(frame + 8, 1);
    put16(frame + 12, UINT16_MAX);
    memcpy(frame + 14, body, body_size);
    put32(frame, (uint32_t)(10 + body_size));
    int connection = connect_to(node->port);
    if (connection < 0) fail("the node cannot be reached");
    send_all(connection, frame, 14 + body_size);
    if (!receive_all(connection, frame, 4)) fail("the node closed the connection at API %d", api);
    size_t size = get32(frame);
    if (size < 16 || size > sizeof frame) fail("an answer of %zu bytes to API %d", size, api);
    receive_all(connection, frame, size);
    close(connection);
    // Correlation id, throttle time, one topic.
    return (int16_t)get16(frame + 12 + 2 + get16(frame + 12));
}

/// A node that has just started, or forgotten a topic, may need a moment.
static void insist(const Server *node, const char *what, int api, int version, const unsigned char *body, size_t size) {
    int error = 0;
    for (int attempt = 0; attempt < 500; attempt++) {
        error = call(node, api, version, body, size);
        if (error == 0) return;
        usleep(20000);
    }
    fail("%s failed with error %d", what, error);
}

void create_topic(const Server *node, const char *topic) {
    unsigned char body[512];
    unsigned char *at = body;
    put32(at, 1);
    at = put_string(at + 4, topic);
    put32(at, 1);       // partitions
    put16(at + 4, 1);   // replicas
    put32(at + 6, 0);   // no assignment
    put32(at + 10, 1);  // configs
    at = put_string(at + 14, "flush.mode");
    at = put_string(at, "async");
    put32(at, 30000);
    at[4] = 0;
    insist(node, "CreateTopics", 19, 3, body, (size_t)(at + 5 - body));
}

void delete_topic(const Server *node, const char *topic) {
    unsigned char body[512];
    unsigned char *at = body;
    put32(at, 1);
    at = put_string(at + 4, topic);
    put32(at, 30000);
    insist(node, "DeleteTopics", 20, 3, body, (size_t)(at + 4 - body));
}
