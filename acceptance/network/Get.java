import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.MessageDigest;
import java.util.HexFormat;

/** Get BASE: fetch content, send it back, print its SHA-256. */
class Get {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        byte[] got = client.send(HttpRequest.newBuilder(URI.create(args[0] + "/content")).build(), BodyHandlers.ofByteArray()).body();
        String hash = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(got));
        HttpRequest post = HttpRequest.newBuilder(URI.create(args[0] + "/hash")).POST(HttpRequest.BodyPublishers.ofByteArray(got)).build();
        String told = client.send(post, BodyHandlers.ofString()).body();
        if (!told.equals(hash)) throw new Exception("sent " + hash + ", arrived " + told);
        System.out.println(hash);
    }
}
