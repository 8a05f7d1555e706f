/* The least that a durable step costs on a disk: what a chain of steps cannot do without, and nothing else. Each
 * step has a contract and an input written for it, a shell that writes one line, its output synced and named in a
 * store and put into the work tree, and ten pages (a run's row and its indexes) appended to a log and synced.
 *   bare STEPS FOLDER */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 10, PAGE = 4096, FRAME = 24, CONTRACT = 385 };
extern char **environ;
static char bytes[PAGE];

static void must(int held, const char *what) {
    if (!held) { perror(what); exit(1); }
}

static void put(const char *path, size_t length) {
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    must(file >= 0 && write(file, bytes, length) == (ssize_t)length, path);
    close(file);
}

static void synced(const char *path, int flags) {
    int file = open(path, O_RDONLY | flags);
    must(file >= 0 && fsync(file) == 0, path);
    close(file);
}

static void command(const char *line) {
    char *arguments[] = {"sh", "-c", (char *)line, NULL};
    pid_t pid;
    int status;
    must(posix_spawn(&pid, "/bin/sh", NULL, NULL, arguments, environ) == 0, "sh");
    must(waitpid(pid, &status, 0) == pid && status == 0, "sh");
}

int main(int count, char **words) {
    must(count == 3 && chdir(words[2]) == 0, "usage: bare STEPS FOLDER");
    const char *folders[] = {"objects", "work", "work/in", "work/out"};
    for (int i = 0; i < 4; i++) must(mkdir(folders[i], 0755) == 0, folders[i]);
    int log = open("log", O_RDWR | O_CREAT, 0644);
    off_t end = 0;
    for (int i = 0, steps = atoi(words[1]); i < steps; i++) {
        char line[64], folder[64], object[64], output[64];
        snprintf(line, sizeof line, "echo %d > work/out/o.txt", i);
        snprintf(folder, sizeof folder, "objects/%02x", i & 255);
        snprintf(object, sizeof object, "%s/%d", folder, i);
        snprintf(output, sizeof output, "s%d.txt", i);
        put("work/step.json", CONTRACT);
        put("work/in/o.txt", 2);
        command(line);
        mkdir(folder, 0755);
        synced("work/out/o.txt", 0);
        must(rename("work/out/o.txt", object) == 0, object);
        synced(folder, O_DIRECTORY);
        put(".new", 2);
        must(rename(".new", output) == 0, output);
        must(unlink("work/step.json") == 0 && unlink("work/in/o.txt") == 0, "work");
        for (int page = 0; page < PAGES; page++) {
            must(pwrite(log, bytes, FRAME, end) == FRAME, "log");
            must(pwrite(log, bytes, PAGE, end + FRAME) == PAGE, "log");
            end += FRAME + PAGE;
        }
        must(fdatasync(log) == 0, "log");
    }
    return 0;
}
