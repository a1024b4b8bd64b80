/* A wall clock that is off by FAULTS_CLOCK_SECONDS, for the fault suite: loaded before the C library by LD_PRELOAD.
   Clocks that only measure are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

static long off(void)
{
    const char *text = getenv("FAULTS_CLOCK_SECONDS");
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += off();
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    static int (*real)(struct timeval *, void *);
    if (!real)
        real = dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(time, zone);
    if (result == 0 && time)
        time->tv_sec += off();
    return result;
}

time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}

/* Waits end at a time of the clock that is off, which the kernel knows nothing of: librdkafka waits like this. */
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict end)
{
    static int (*real)(cnd_t *, mtx_t *, const struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "cnd_timedwait");
    struct timespec right = *end;
    right.tv_sec -= off();
    return real(condition, mutex, &right);
}
