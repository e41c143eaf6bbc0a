// Control groups of a compiled plan. A sandbox is bounded by what bounds its caller, and that is whoever calls it now, in another session, service or
// container than who compiled it: so each parent is looked for again, as src/host/cgroups.ts found it.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "compiled.h"

#define TEXT_BYTES 8192

static bool read_own(char text[TEXT_BYTES]) {
  int file = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  size_t used = 0;
  ssize_t got = 1;
  while (got != 0 && used < TEXT_BYTES - 1) {
    got = read(file, text + used, TEXT_BYTES - 1 - used);
    if (got < 0 && errno != EINTR) break;
    if (got > 0) used += (size_t)got;
  }
  (void)close(file);
  text[used] = '\0';
  return got == 0;
}

static bool has_controller(const char *list, size_t length, const char *controller) {
  size_t size = strlen(controller);
  if (size == 0) return length == 0;
  for (const char *at = list, *end = list + length; at < end;) {
    const char *comma = memchr(at, ',', (size_t)(end - at));
    size_t word = (size_t)((comma == NULL ? end : comma) - at);
    if (word == size && memcmp(at, controller, size) == 0) return true;
    at += word + 1;
  }
  return false;
}

// Lines "ID:CONTROLLERS:PATH" (cgroups(7)).
static bool find_own(const char *text, const char *controller, char *path) {
  for (const char *line = text; *line != '\0';) {
    const char *end = strchr(line, '\n');
    if (end == NULL) return false;
    const char *list = memchr(line, ':', (size_t)(end - line));
    const char *place = list == NULL ? NULL : memchr(list + 1, ':', (size_t)(end - list - 1));
    if (place != NULL && has_controller(list + 1, (size_t)(place - list - 1), controller)) {
      size_t length = (size_t)(end - place - 1);
      if (length == 0 || length >= PATH_MAX || place[1] != '/') return false;
      memcpy(path, place + 1, length);
      path[length] = '\0';
      return true;
    }
    line = end + 1;
  }
  return false;
}

// In a container without a cgroup namespace only a part of the tree is mounted, and the kernel tells the whole path.
static const char *below(const char *path, const char *root) {
  size_t length = strlen(root);
  if (strcmp(path, root) == 0) return "";
  if (strncmp(path, root, length) == 0 && path[length] == '/') return path + length;
  return strcmp(path, "/") == 0 ? "" : path;
}

static bool name_parent(const char *mounted, const char *inside, uint32_t which, char *parent) {
  int length = snprintf(parent, PATH_MAX, "%s%s", mounted, which == COMPILED_GROUP_TOP ? "" : inside);
  if (length < 0 || length >= PATH_MAX) return false;
  if (which == COMPILED_GROUP_ABOVE && inside[0] != '\0') *strrchr(parent, '/') = '\0';
  return true;
}

bool compiled_group_parent(const char *text, struct reader *place, char *parent) {
  char path[PATH_MAX];
  const char *controller = read_string(place);
  const char *mounted = read_string(place);
  const char *root = read_string(place);
  uint32_t which = read_u32(place);
  return !place->failed && find_own(text, controller, path) && name_parent(mounted, below(path, root), which, parent);
}

bool compiled_groups(const struct compiled *compiled, struct plan *plan, const char **reason) {
  static char text[TEXT_BYTES], parents[PLAN_CGROUPS_MAX][PATH_MAX];
  if (plan->cgroups == 0) return true;
  *reason = "the control groups of this process cannot be found; compile the plan again here, with run-sandbox compile";
  if (compiled->groups.count != plan->cgroups || !read_own(text)) return false;
  struct places places = compiled->groups;
  for (uint32_t i = 0; i < places.count; i++) {
    if (!compiled_group_parent(text, &places.at, parents[i])) return false;
    plan->group_parents[i] = parents[i];
  }
  return true;
}
