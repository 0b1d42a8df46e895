// The servers that are measured, as children of the program.
#define _GNU_SOURCE
#include "BenchDriver.h"

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

enum { CHILDREN_MAX = 16 };

static pid_t children[CHILDREN_MAX];
static int child_count = 0;

void end_server(pid_t pid) {
    for (int i = 0; i < child_count; i++) {
        if (children[i] != pid) continue;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        children[i] = children[--child_count];
        return;
    }
}

void end_servers(void) {
    while (child_count > 0) end_server(children[0]);
}

pid_t fork_server(void) {
    fflush(NULL);
    if (child_count == CHILDREN_MAX) fail("more than %d children", CHILDREN_MAX);
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

double cpu_seconds_of_all(const Server *servers, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) sum += cpu_seconds(&servers[i]);
    return sum;
}

static void write_cluster_file(const char *path, int count, const Server *nodes) {
    FILE *file = fopen(path, "w");
    if (file == NULL) fail("%s cannot be written", path);
    fprintf(file, "cluster: %s\nnodes:\n", program_name);
    for (int i = 0; i < count; i++) {
        fprintf(file, "  - {id: %d, host: 127.0.0.1, port: %d, data: node-%d}\n", i + 1, nodes[i].port, i + 1);
    }
    fclose(file);
}

static pid_t start_node(const char *binary, const char *folder, const char *config, int id) {
    pid_t pid = fork_server();
    if (pid != 0) return pid;
    char id_text[16], log_path[4200];
    snprintf(id_text, sizeof id_text, "%d", id);
    snprintf(log_path, sizeof log_path, "%s/node-%d.log", folder, id);
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(log, 1);
    dup2(log, 2);
    execl(binary, binary, "start", "--config", config, "--node", id_text, NULL);
    _exit(127);
}

static void show_log(const char *folder, int id) {
    char path[4200], line[512];
    snprintf(path, sizeof path, "%s/node-%d.log", folder, id);
    FILE *log = fopen(path, "r");
    if (log == NULL) return;
    while (fgets(line, sizeof line, log)) fputs(line, stderr);
    fclose(log);
}

void start_nodes(const char *binary, const char *folder, int count, Server *nodes) {
    static const char *const names[NODES_MAX] = {"node 1", "node 2", "node 3"};
    char config[4200];
    snprintf(config, sizeof config, "%s/cluster.yaml", folder);
    for (int i = 0; i < count; i++) nodes[i] = (Server){.name = names[i], .port = free_port()};
    write_cluster_file(config, count, nodes);
    for (int i = 0; i < count; i++) nodes[i].pid = start_node(binary, folder, config, i + 1);
    for (int i = 0; i < count; i++) {
        int known = 0;
        for (int attempt = 0; attempt < 1500 && known != count; attempt++) {
            usleep(10000);
            if (waitpid(nodes[i].pid, NULL, WNOHANG) == nodes[i].pid) break;
            known = brokers_known(&nodes[i]);
        }
        if (known == count) continue;
        // The folder goes with the program, so the log is shown and not named.
        show_log(folder, i + 1);
        fail("%s did not start (MARTLET or --martlet names the binary)", nodes[i].name);
    }
}
