// In the place of react-style-singleton, which the dialogs use: it adds <style> elements, which the page's content security
// policy refuses. A style sheet that a script constructs is none of the page's inline styles.
import { useEffect } from "react";

/// A style sheet that is there as long as somebody uses it.
export function stylesheetSingleton() {
  const sheet = new CSSStyleSheet();
  let users = 0;
  return {
    add(styles) {
      if (users === 0) {
        sheet.replaceSync(styles);
        document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
      }
      users += 1;
    },
    remove() {
      users -= 1;
      if (users === 0) {
        document.adoptedStyleSheets = [...document.adoptedStyleSheets].filter((one) => one !== sheet);
      }
    },
  };
}

export function styleHookSingleton() {
  const sheet = stylesheetSingleton();
  return (styles, dynamic) => {
    useEffect(() => {
      sheet.add(styles);
      return sheet.remove;
    }, [styles && dynamic]);
  };
}

export function styleSingleton() {
  const useStyle = styleHookSingleton();
  return ({ styles, dynamic }) => {
    useStyle(styles, dynamic);
    return null;
  };
}
