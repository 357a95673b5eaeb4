// What this browser remembers of people's choices, where it is allowed to.

export function kept(name) {
  try {
    return localStorage.getItem(`scanlight.${name}`);
  } catch {
    return null;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(`scanlight.${name}`, value);
  } catch {
    // Then the choice lasts as long as the page.
  }
}

export function forget(name) {
  try {
    localStorage.removeItem(`scanlight.${name}`);
  } catch {
    // Then nothing was kept either.
  }
}
