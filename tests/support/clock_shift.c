/* A preload library that shifts the wall clock of a program by the seconds in the file CLOCK_SHIFT_FILE, at any
 * moment. Absolute waits on CLOCK_REALTIME follow the shifted clock, as the kernel's follow clock_settime(2): they
 * are made in slices, after each of which the shifted clock is read again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t slice = 20 * 1000 * 1000;
static volatile int64_t *shift;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static long (*real_syscall)(long, ...);

static void resolve(void) {
  if (!real_clock_gettime) real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
  if (!real_syscall) real_syscall = dlsym(RTLD_NEXT, "syscall");
}

__attribute__((constructor)) static void open_shift(void) {
  resolve();
  const char *file = getenv("CLOCK_SHIFT_FILE");
  const int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
  void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0);
  if (fd >= 0) close(fd);
  if (page != MAP_FAILED) shift = page;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  resolve();
  const int result = real_clock_gettime(clock, time);
  if (result == 0 && clock == CLOCK_REALTIME && shift) time->tv_sec += *shift;
  return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}

static int64_t nanoseconds(const struct timespec *time) { return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec; }

static int64_t left_until(const struct timespec *end) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return nanoseconds(end) - nanoseconds(&now);
}

/* The monotonic time of the end of a slice of a wait that has `left` to go. */
static struct timespec end_of_slice(int64_t left) {
  struct timespec now;
  real_clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t end = nanoseconds(&now) + (left < slice ? left : slice);
  return (struct timespec){end / 1000000000, end % 1000000000};
}

long syscall(long number, ...) {
  long a[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; ++i) a[i] = va_arg(list, long);
  va_end(list);
  resolve();
  const struct timespec *end = (const struct timespec *)a[3];
  if (number != SYS_futex || !(a[1] & FUTEX_CLOCK_REALTIME) || (a[1] & FUTEX_CMD_MASK) != FUTEX_WAIT_BITSET || !end)
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  for (;;) {
    const int64_t left = left_until(end);
    if (left <= 0) {
      errno = ETIMEDOUT;
      return -1;
    }
    const struct timespec until = end_of_slice(left);
    const long result = real_syscall(number, a[0], a[1] & ~FUTEX_CLOCK_REALTIME, a[2], &until, a[4], a[5]);
    if (result == 0 || errno != ETIMEDOUT) return result;
  }
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict end) {
  static int (*clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
  if (!clockwait) clockwait = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
  if (condition->__data.__wrefs & 2) return clockwait(condition, mutex, CLOCK_MONOTONIC, end); /* its attribute */
  const int64_t left = left_until(end);
  const struct timespec until = end_of_slice(left < 0 ? 0 : left);
  const int result = clockwait(condition, mutex, CLOCK_MONOTONIC, &until);
  return result == ETIMEDOUT && left_until(end) > 0 ? 0 : result; /* 0: a spurious wakeup, which is allowed */
}
